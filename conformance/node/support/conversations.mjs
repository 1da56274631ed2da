// What the suites say to the models.

export const MODEL = "qwen-plus";
export const VISION_MODEL = "qwen3-vl-plus";
export const EMBEDDING_MODEL = "text-embedding-v4";

export const user = (content) => [{ role: "user", content }];

export const CHINESE = user("用一句话介绍杭州。");
export const LONG = user(
  "Write about the West Lake in Hangzhou through the four seasons, in two paragraphs.",
);
export const UNICODE = user("请解释这些字符：👩‍👩‍👧‍👦 𠮷野家 e\u0301 ﷽ \u200f שלום “引号” \\ \t");
export const HISTORY = [
  { role: "system", content: "You answer in one short sentence." },
  { role: "user", content: "Which river flows through Hangzhou?" },
  { role: "assistant", content: "The Qiantang River." },
  { role: "user", content: "And which lake is it known for?" },
];
export const FORECAST = user("What is the weather in Hangzhou today? Use the tool.");
export const ERRANDS = user(
  "What is the weather in Hangzhou, and what time is it there? Use both tools at once.",
);

const aboutCity = (name, description) => ({
  type: "function",
  function: {
    name,
    description,
    parameters: {
      type: "object",
      properties: { city: { type: "string", description: "The city's name." } },
      required: ["city"],
    },
  },
});
export const TOOLS = [aboutCity("get_weather", "Tells today's weather in a city.")];
export const BOTH_TOOLS = [...TOOLS, aboutCity("get_time", "Tells the time in a city.")];

export const PERSON = user("Invent a person and describe them as JSON with name and age.");
export const SCHEMA = {
  name: "person",
  strict: true,
  schema: {
    type: "object",
    properties: { name: { type: "string" }, age: { type: "integer" } },
    required: ["name", "age"],
    additionalProperties: false,
  },
};

export const PICTURES = {
  // A red square; the smallest side that the service takes is 10 pixels.
  data: "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAKklEQVR4nGM4ISdHU8QwasGoBaMWjFowasGoBaMWjFowasGoBaMWDBULACXLED3NSh4NAAAAAElFTkSuQmCC",
  https: "https://dashscope.oss-cn-beijing.aliyuncs.com/images/dog_and_girl.jpeg",
};

/** A question about a picture, in the parts that OpenAI's protocol has. */
export const aboutPicture = (url) =>
  user([
    { type: "image_url", image_url: { url } },
    { type: "text", text: "What is in this picture?" },
  ]);

/** More than any model embeds at once. */
export const TEXTS = Array.from({ length: 33 }, (_, number) => `第${number}段：西湖的第${number}个故事。`);

/** What a model asked for, as the turn that its caller gives back, and what the tools said. */
export function results(answer, said) {
  const calls = answer.toolCalls.map(({ id, name, arguments: text }) => ({
    id,
    type: "function",
    function: { name, arguments: text },
  }));
  return [
    { role: "assistant", content: answer.texts[0], tool_calls: calls },
    ...answer.toolCalls.map(({ id, name }) => ({
      role: "tool",
      tool_call_id: id,
      content: said[name],
    })),
  ];
}

/** What has to be the same whichever way an answer came: all but the ids of tool calls. */
export function content({ toolCalls, ...rest }) {
  return { ...rest, toolCalls: toolCalls.map(({ id: _, ...call }) => call) };
}
