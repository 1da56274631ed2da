// Where the suite sends its requests, and the simulator's own count of what arrived.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

const env = process.env;

export const kind = env.CONFORMANCE_TARGET;
assert.ok(kind, "CONFORMANCE_TARGET is not set; run this through `cargo xtask test`");
export const simulated = kind !== "live";

/** An address and the key to use there. */
export const place = { url: env.CONFORMANCE_URL, key: env.CONFORMANCE_API_KEY };

/** The simulator without a gateway, as the truth to compare with. */
export const direct = { url: env.CONFORMANCE_SIMULATOR_URL, key: "sk-reference" };

/** A place whose account is `limited`, in `arrears`, `denied` or `expired`. */
export function troubled(trouble) {
  if (kind === "simulator") return { url: env.CONFORMANCE_URL, key: `sk-${trouble}-conformance` };
  const url = env[`CONFORMANCE_${trouble.toUpperCase()}_URL`];
  return { url, key: env.CONFORMANCE_TROUBLED_KEY };
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
