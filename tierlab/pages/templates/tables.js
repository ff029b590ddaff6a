"use strict";
// Sort a table by a click on its header, and save it as CSV. Cells are read as text and never become markup.
const number = text => {
  const plain = text.replace(/[$,%\s\u2009\u202f]/g, "").replace("\u2212", "-");
  return plain !== "" && isFinite(plain) ? Number(plain) : NaN;
};
const order = (a, b) => {
  const [x, y] = [number(a), number(b)];
  if (isNaN(x) && isNaN(y)) return a.localeCompare(b);
  return isNaN(x) ? 1 : isNaN(y) ? -1 : x - y;
};
const field = text => {
  // A spreadsheet runs a cell that starts like a formula.
  const safe = /^'*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/.test(text) && isNaN(number(text)) ? "'" + text : text;
  return '"' + safe.replaceAll('"', '""') + '"';
};
for (const table of document.querySelectorAll(".output table")) {
  const body = table.tBodies[0];
  const heads = table.tHead ? [...table.tHead.rows[table.tHead.rows.length - 1].cells] : [];
  if (!body || !heads.length) continue;
  const sortable = body.rows.length > 1 && !table.querySelector("[rowspan], tbody [colspan]");
  for (const [column, head] of sortable ? heads.entries() : []) {
    if (!head.textContent.trim()) continue;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort((a, b) => order(a.cells[column].textContent.trim(), b.cells[column].textContent.trim()));
      body.append(...(up ? rows : rows.reverse()));
    });
  }
  const save = document.createElement("button");
  save.className = "csv";
  save.textContent = "Save as CSV";
  save.addEventListener("click", () => {
    const lines = [...table.rows].map(row => [...row.cells].map(cell => field(cell.textContent.trim())).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff" + lines.join("\r\n") + "\r\n"], {type: "text/csv"}));
    link.download = "table.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  table.parentElement.after(save);
}
