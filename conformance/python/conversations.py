"""What the suites say to the models."""

MODEL = "qwen-plus"
THINKING_MODEL = "qwen-plus"


def user(text):
    return [{"role": "user", "content": text}]


CHINESE = user("用一句话介绍杭州。")
LONG = user("Write about the West Lake in Hangzhou through the four seasons, in two paragraphs.")
# One character to the reader, seven code points and 25 bytes on the wire.
FAMILY = "👩‍👩‍👧‍👦"
UNICODE = user(f"请解释这些字符：{FAMILY} 𠮷野家 e\u0301 é ﷽ \u200f שלום ½ \t 引号“”和\\反斜杠")
HISTORY = [
    {"role": "system", "content": "You answer in one short sentence."},
    {"role": "user", "content": "Which river flows through Hangzhou?"},
    {"role": "assistant", "content": "The Qiantang River."},
    {"role": "user", "content": "And which lake is it known for?"},
]
FORECAST = user("What is the weather in Hangzhou today? Use the tool.")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tells today's weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "The city's name."}},
                "required": ["city"],
            },
        },
    }
]
# The service refuses JSON mode when no message says the word.
PERSON = user("Invent a person and describe them as JSON with name, age and languages.")
SCHEMA = {
    "name": "person",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer"},
            "languages": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name", "age", "languages"],
        "additionalProperties": False,
    },
}
