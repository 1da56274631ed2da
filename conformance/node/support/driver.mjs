// The client under test, behind the same few functions as every other: `make` makes one for a
// place, with `chat`, `stream`, `abandon` and what else its protocol has a word for; `failure`
// says what its exceptions tell; `cannot` names what its protocol has no word for.

const DRIVERS = { "@anthropic-ai/sdk": "anthropic", ai: "ai-sdk" };

// `openai-6` is another version of `openai`.
const name = process.env.CONFORMANCE_NODE_PACKAGE.replace(/-\d+$/, "");

export const driver = await import(`../drivers/${DRIVERS[name] ?? name}.mjs`);

export const can = (what) => !driver.cannot.has(what);
