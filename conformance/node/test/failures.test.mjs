// How failures reach a caller: the client's own exception, with status, code and request id.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { CHINESE, MODEL } from "../support/conversations.mjs";
import { driver } from "../support/driver.mjs";
import { place, simulated, simulator, troubled } from "../support/target.mjs";

// What the dialects call them; a bad key is 403 in Anthropic's only.
const FAILURES = {
  key: { openai: [401, "invalid_api_key"], anthropic: [403, "authentication_error"] },
  model: { openai: [404, "model_not_found"], anthropic: [404, "not_found_error"] },
  parameter: {
    openai: [400, "invalid_parameter_error"],
    anthropic: [400, "invalid_request_error"],
  },
  limited: { openai: [429, "limit_requests"], anthropic: [429, "rate_limit_error"] },
  arrears: { openai: [400, "Arrearage"], anthropic: [400, "billing_error"] },
  denied: { openai: [403, "model_access_denied"], anthropic: [403, "permission_error"] },
  expired: { openai: [401, "invalid_api_key"], anthropic: [403, "authentication_error"] },
};

for (const way of ["chat", "stream"]) {
  describe(way, () => {
    const failsWith = (name, place, options = {}) =>
      assert.rejects(driver.make(place)[way](CHINESE, { model: MODEL, ...options }), (error) => {
        const { kind, status, code, requestId, message } = driver.failure(error);
        const [expected, word] = FAILURES[name][driver.dialect];
        assert.deepEqual([kind, status, code], [driver.kinds[expected], expected, word]);
        assert.ok(message.trim());
        assert.ok(requestId);
        return true;
      });

    test("a wrong key is refused", () =>
      failsWith("key", { url: place.url, key: "not-a-key-of-anyone" }));

    test("an unknown model is refused", () =>
      failsWith("model", place, { model: "no-such-model" }));

    test("a parameter out of range is refused", () => failsWith("parameter", place, { top_p: 7 }));

    if (simulated) {
      test("a throttled account is told", () => failsWith("limited", troubled("limited")));

      test("an account in arrears is told", () => failsWith("arrears", troubled("arrears")));

      test("a missing permission is told", () => failsWith("denied", troubled("denied")));

      test("an expired key is told", () => failsWith("expired", troubled("expired")));
    }
  });
}

if (simulated) {
  test("an error in the middle of a stream is told", async () => {
    const faults = [{ faults: ["error-frame=3"], stream: true }];
    await simulator.configure({ faults });
    try {
      await assert.rejects(driver.make(place).stream(CHINESE, { model: MODEL }), (error) => {
        assert.match(String(error.message), /internal error/i);
        return true;
      });
    } finally {
      await simulator.configure({ faults: null });
    }
  });

  test("a throttled call is retried as often as the client says", async () => {
    await simulator.reset();
    const limited = driver.make(troubled("limited"), { maxRetries: 1 });
    await assert.rejects(limited.chat(CHINESE, { model: MODEL }), (error) => {
      assert.equal(driver.failure(error).status, 429);
      return true;
    });
    assert.ok((await simulator.journal()).length >= 2);
  });
}
