// How failures reach a caller of the `openai` client for Node.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { chat, stream, user } from "../support/ask.mjs";
import { OpenAI, client, simulated, simulator, troubled } from "../support/target.mjs";

const QUESTION = user("用一句话介绍杭州。");

for (const [way, ask] of Object.entries({ chat, stream })) {
  describe(way, () => {
    const failsWith = (asked, kind, status, code) =>
      assert.rejects(asked, (error) => {
        assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
        assert.equal(error.status, status);
        assert.equal(error.code, code);
        assert.ok(error.error.message.trim());
        assert.ok(error.requestID);
        return true;
      });

    test("a wrong key is refused", () =>
      failsWith(
        ask(client(undefined, "not-a-key-of-anyone"), QUESTION),
        OpenAI.AuthenticationError,
        401,
        "invalid_api_key",
      ));

    test("an unknown model is refused", () =>
      failsWith(
        ask(client(), QUESTION, { model: "no-such-model" }),
        OpenAI.NotFoundError,
        404,
        "model_not_found",
      ));

    test("a parameter out of range is refused", () =>
      failsWith(
        ask(client(), QUESTION, { top_p: 7 }),
        OpenAI.BadRequestError,
        400,
        "invalid_parameter_error",
      ));

    if (simulated) {
      test("a throttled account is told", () =>
        failsWith(ask(troubled("limited"), QUESTION), OpenAI.RateLimitError, 429, "limit_requests"));

      test("an account in arrears is told", () =>
        failsWith(ask(troubled("arrears"), QUESTION), OpenAI.BadRequestError, 400, "Arrearage"));

      test("a missing permission is told", () =>
        failsWith(
          ask(troubled("denied"), QUESTION),
          OpenAI.PermissionDeniedError,
          403,
          "model_access_denied",
        ));
    }
  });
}

if (simulated) {
  test("a throttled call is retried as often as the client says", async () => {
    await simulator.reset();
    const limited = troubled("limited", { maxRetries: 1 });
    await assert.rejects(chat(limited, QUESTION), OpenAI.RateLimitError);
    assert.ok((await simulator.journal()).length >= 2);
  });
}
