"""What the suites say to the models."""

import base64
import struct
import zlib

MODEL = "qwen-plus"
THINKING_MODEL = "qwen-plus"
VISION_MODEL = "qwen3-vl-plus"
EMBEDDING_MODEL = "text-embedding-v4"


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
# Two errands for one turn.
ERRANDS = user("What is the weather in Hangzhou, and what time is it there? Use both tools at once.")
BOTH_TOOLS = [
    *TOOLS,
    {
        "type": "function",
        "function": {
            "name": "get_time",
            "description": "Tells the time in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "The city's name."}},
                "required": ["city"],
            },
        },
    },
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


def _png(side, red, green, blue):
    """A square of one colour."""

    def chunk(kind, data):
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    rows = (b"\0" + bytes((red, green, blue)) * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _data_url(picture):
    return "data:image/png;base64," + base64.b64encode(picture).decode()


# The smallest side that the service takes is 10 pixels.
PICTURES = {
    "data": _data_url(_png(32, 200, 30, 30)),
    "https": "https://dashscope.oss-cn-beijing.aliyuncs.com/images/dog_and_girl.jpeg",
}


def about_picture(url, text="What is in this picture?"):
    """A question about a picture, in the parts that OpenAI's protocol has."""
    return user([{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}])


# More than any model embeds at once.
TEXTS = [f"第{number}段：西湖的第{number}个故事。" for number in range(33)]
QUERY = "Which lake is in Hangzhou?"
DOCUMENTS = [
    "The Yangtze is a river.",
    "West Lake is a lake in Hangzhou.",
    "Beijing has a Summer Palace.",
    "Hangzhou lies on the Qiantang River.",
]
