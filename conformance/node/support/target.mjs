// Where the suite sends its requests, and the simulator's own count of what arrived.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

const env = process.env;

/** The client under test: `openai`, or an older line of it. */
export const { default: OpenAI } = await import(env.CONFORMANCE_NODE_PACKAGE ?? "openai");

export const kind = env.CONFORMANCE_TARGET;
assert.ok(kind, "CONFORMANCE_TARGET is not set; run this through `cargo xtask test`");
export const simulated = kind !== "live";

/** A client for a place; it does not retry unless told to. */
export function client(url = env.CONFORMANCE_URL, key = env.CONFORMANCE_API_KEY, options = {}) {
  return new OpenAI({
    apiKey: key,
    baseURL: `${url}/compatible-mode/v1`,
    maxRetries: 0,
    ...options,
  });
}

/** A client at the simulator without a gateway, as the truth to compare with. */
export function direct() {
  return client(env.CONFORMANCE_SIMULATOR_URL, "sk-reference");
}

/** A client of an account that is `limited`, in `arrears`, `denied` or `expired`. */
export function troubled(trouble, options = {}) {
  if (kind === "simulator") {
    return client(env.CONFORMANCE_URL, `sk-${trouble}-conformance`, options);
  }
  const url = env[`CONFORMANCE_${trouble.toUpperCase()}_URL`];
  return client(url, env.CONFORMANCE_TROUBLED_KEY, options);
}

async function control(method, path, settings) {
  const response = await fetch(env.CONFORMANCE_SIMULATOR_URL + path, {
    method,
    headers: { "content-type": "application/json" },
    body: settings && JSON.stringify(settings),
  });
  assert.ok(response.ok, `${method} ${path}: ${response.status}`);
  const body = await response.text();
  return body ? JSON.parse(body) : null;
}

export const simulator = {
  reset: () => control("POST", "/__sim/reset"),
  journal: () => control("GET", "/__sim/journal"),
  /** Changes these settings; `null` resets one. */
  configure: (settings) => control("PUT", "/__sim/config", settings),
  /** The first journal entry for which `wanted` is true. */
  async waitFor(wanted, milliseconds = 10_000) {
    const deadline = Date.now() + milliseconds;
    for (;;) {
      const entries = await this.journal();
      const entry = entries.find(wanted);
      if (entry) return entry;
      assert.ok(Date.now() < deadline, `no such journal entry in ${JSON.stringify(entries)}`);
      await sleep(10);
    }
  },
};
