"""One form for what the different clients give back, so that one test can judge all of them."""

from dataclasses import dataclass, field
from typing import List, Optional, Tuple


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool that the model asks for; ``arguments`` is the JSON text as received."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Usage:
    """Token counts of one request."""

    input: int
    output: int
    total: int
    reasoning: int = 0


@dataclass
class Answer:
    """What one call gave, streamed or not."""

    texts: List[str] = field(default_factory=list)
    reasoning: str = ""
    tool_calls: List[ToolCall] = field(default_factory=list)
    finish_reasons: List[Optional[str]] = field(default_factory=list)
    usage: Optional[Usage] = None
    request_id: str = ""
    # Pieces that brought text, thinking or part of a tool call; 1 for a call without stream.
    pieces: int = 1

    @property
    def text(self) -> str:
        return self.texts[0]

    @property
    def finish_reason(self) -> Optional[str]:
        return self.finish_reasons[0]

    def content(self):
        """Everything that has to be the same whichever way the answer came."""
        calls = [(call.name, call.arguments) for call in self.tool_calls]
        return (self.texts, self.reasoning, calls, self.finish_reasons, self.usage)


@dataclass(frozen=True)
class Embedded:
    """Vectors in the order of their texts; ``tokens`` where the client tells."""

    vectors: List[List[float]]
    tokens: Optional[int] = None


@dataclass(frozen=True)
class Ranked:
    """``(index, score)`` of documents, the nearest first; ``tokens`` where the client tells."""

    order: List[Tuple[int, float]]
    tokens: Optional[int] = None


class CallFailed(Exception):
    """A failure as the client showed it to its caller."""

    def __init__(self, kind, status, code, message, request_id):
        super().__init__(f"{kind}: {status} {code}: {message} ({request_id})")
        self.kind = kind
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id


class Joiner:
    """Joins incremental pieces to the answer that the call without stream would have given."""

    def __init__(self):
        self._texts = {}
        self._finish = {}
        self._calls = {}
        self._reasoning = []
        self.usage = None
        self.request_id = ""
        self.pieces = 0

    def choice(self, index, text, reasoning, calls, finish):
        """Takes one choice of one piece; ``calls`` yields (index, id, name, arguments)."""
        index = index or 0
        self._texts[index] = self._texts.get(index, "") + (text or "")
        self._reasoning.append(reasoning or "")
        for call_index, call_id, name, arguments in calls:
            call = self._calls.setdefault(call_index or 0, ["", "", ""])
            # The service sends an empty id, or the same one again, with later fragments.
            call[0] = call[0] or call_id or ""
            call[1] = call[1] or name or ""
            call[2] += arguments or ""
        if finish and finish != "null":
            self._finish[index] = finish
        if text or reasoning or calls:
            self.pieces += 1

    def answer(self) -> Answer:
        order = sorted(self._texts)
        return Answer(
            texts=[self._texts[index] for index in order],
            reasoning="".join(self._reasoning),
            tool_calls=[ToolCall(*self._calls[index]) for index in sorted(self._calls)],
            finish_reasons=[self._finish.get(index) for index in order],
            usage=self.usage,
            request_id=self.request_id,
            pieces=self.pieces,
        )
