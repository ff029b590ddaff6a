"""Adapters to the providers' SDKs, one room each, live and in batches; `tierlab.providers` has the protocol."""
