// A provider of our own: wrong sums for the small model, one failed call, usage as OpenAI counts it.
module.exports = class {
  constructor(options) { this.model = options.config.model; }
  id() { return 'vendor:' + this.model; }
  async callApi(prompt, context) {
    const right = context.vars.answer, small = this.model === 'small';
    if (small && right === '2') return { error: '503 service unavailable' };
    const output = small && ['16', '13'].includes(right) ? '17' : right;
    return {
      output,
      cost: small ? 0.00021 : 0.0042,
      tokenUsage: { prompt: 1012, completion: 3, total: 1015, numRequests: 1, completionDetails: { cacheReadInputTokens: 1000 } },
    };
  }
};
