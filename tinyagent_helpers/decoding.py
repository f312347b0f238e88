"""Greedy decoding by llama.cpp, faster: what was read is kept, what probably follows is looked up in the prompt, and a grammar
rules out what is no plan. Derived in notebook 06.

Sources: n-gram lookup as in prompt lookup decoding (Saxena, 2023), a draft without a draft model for speculative decoding
(Leviathan et al., 2023); grammars are llama.cpp's GBNF.
"""

from collections.abc import Iterable, Iterator, Sequence
from ctypes import byref, c_uint8
from typing import Any, get_args, get_origin

import llama_cpp
import numpy as np

from tinyagent_helpers.artifacts import InputError
from tinyagent_helpers.plans import END_OF_PLAN
from tinyagent_helpers.tools import Tool

NGRAM, DRAFT = 3, 8  # so many tokens have to stand in the text already for so many that followed them to be tried
CHARACTERS = r'([^"\\\n] | "\\" [^\n])* "\""'  # of a text, to its closing quotation mark
CLOSING = r'"\""'
END = f' "{END_OF_PLAN}"'
NUMBERS = {"int": '"-"? [0-9]+', "float": '"-"? [0-9]+ ("." [0-9]+)?', "bool": '"True" | "False"'}


def look_up(seen: Sequence[int], ngram: int = NGRAM, draft: int = DRAFT) -> list[int]:
    """What followed the last tokens where they stood in the text before, at most `draft` tokens: the last place counts."""
    tail = list(seen[-ngram:])
    for start in range(len(seen) - ngram - 1, -1, -1):
        if seen[start] == tail[0] and list(seen[start : start + ngram]) == tail:
            return list(seen[start + ngram : start + ngram + draft])
    return []


def plan_grammar(tools: Iterable[Tool], padded: bool = False, ends_by_itself: bool = True, most: int = 0) -> str:
    """A GBNF grammar of the plans that can be written with these tools: steps with literal arguments of the right types, then
    join(). `padded`: a space follows every opening quotation mark, see `prompts`. `ends_by_itself`: the model has a token of
    its own for the end of a plan. With `most` a plan has one to so many steps, rightly numbered; else any number of them.

    Raises:
        InputError: a parameter's type has no rule.
    """
    opening = r'"\" "' if padded else r'"\""'
    calls, join = [_call(tool, opening) for tool in tools], f'"join()"{"" if ends_by_itself else END}'
    if most and calls:
        numbers = range(2, most + 1)
        lines = [
            'root ::= "1. " call step2',
            *(f'step{n} ::= "\\n{n}. " ( call step{n + 1} | {join} )' for n in numbers),
        ]
        lines.append(f'step{most + 1} ::= "\\n{most + 1}. " {join}')
    else:
        lines = [f"root ::= step* number {join}", 'number ::= [1-9] [0-9]* ". "']
        lines.append('step ::= number call "\\n"' if calls else 'step ::= number "join()"')
    lines += [f"call ::= {' | '.join(calls)}"] if calls else []
    lines += [f"text ::= {opening} {CHARACTERS}", 'texts ::= "[" ( text ( ", " text )* )? "]"']
    return "\n".join(lines)


def _call(tool: Tool, opening: str) -> str:
    values = ' ", " '.join(_value(tool.name, p.type, opening) for p in tool.parameters)
    return f'"{tool.name}(" {values} ")"'


def _value(tool: str, kind: Any, opening: str) -> str:
    choices = [value for value in get_args(kind) if isinstance(value, str)]
    if choices:
        return "( " + " | ".join(f'{opening} "{choice}" {CLOSING}' for choice in choices) + " )"
    if get_origin(kind) is list and kind != list[str]:
        item = _value(tool, get_args(kind)[0], opening)
        return f'( "[" ( {item} ( ", " {item} )* )? "]" )'
    rules = {str: "text", list[str]: "texts"} | {t: f"( {NUMBERS[t.__name__]} )" for t in (int, float, bool)}
    if kind not in rules:
        raise InputError(
            f"{tool}: there is no grammar for the type {kind}; use str, int, float, bool, Literal or lists"
        )
    return rules[kind]


class Grammar:
    """Chooses the likeliest token that a GBNF grammar allows next. Grammars come from `plan_grammar`; one that refers to itself
    without end would crash llama.cpp.

    Raises:
        InputError: it is not a grammar.
    """

    def __init__(self, text: str, vocabulary: Any):
        self._sampler = llama_cpp.llama_sampler_init_grammar(vocabulary, text.encode(), b"root")
        if not self._sampler:
            raise InputError(f"llama.cpp cannot read this grammar:\n{text}")

    def choose(self, logits: np.ndarray) -> int:
        """The likeliest token that may follow; the likeliest of all is tried alone first, as it mostly may."""
        best = int(logits.argmax())
        token = best if best in self._allowed([best], logits) else self._allowed(range(len(logits)), logits)[0]
        llama_cpp.llama_sampler_accept(self._sampler, token)
        return token

    def _allowed(self, tokens: Sequence[int], logits: np.ndarray) -> list[int]:
        """Those of these tokens that may follow, the likeliest first."""
        data = np.zeros(len(tokens), dtype=[("id", np.intc), ("logit", np.single), ("p", np.single)])
        data["id"], data["logit"] = tokens, logits[list(tokens)]
        pointer = data.ctypes.data_as(llama_cpp.llama_token_data_p)
        array = llama_cpp.llama_token_data_array(data=pointer, size=len(data), selected=-1, sorted=False)
        llama_cpp.llama_sampler_apply(self._sampler, byref(array))
        left = data[np.isfinite(data["logit"])]
        return left["id"][np.argsort(-left["logit"], kind="stable")].tolist()

    def close(self) -> None:
        """Give its memory back."""
        llama_cpp.llama_sampler_free(self._sampler)


class Decoder:
    """Greedy decoding with one loaded model. What a text begins with in common with the last one, or with one that was kept, is
    not read again. `draft`: how many tokens are looked up at a time, 0 for none."""

    def __init__(self, llama: llama_cpp.Llama, draft: int = 0):
        self._context, self._vocabulary = llama.ctx, llama_cpp.llama_model_get_vocab(llama.model)
        self._size, self._batch = llama.n_vocab(), llama.n_batch
        self._held: list[int] = []
        self._kept: list[tuple[list[int], Any]] = []
        self.draft, self.steps = draft, 0

    def keep(self, ids: Sequence[int]) -> None:
        """Read a text and keep what the model knows of it, whatever is read in between."""
        self.read(ids)
        size = llama_cpp.llama_state_seq_get_size(self._context, 0)
        state = (c_uint8 * size)()
        llama_cpp.llama_state_seq_get_data(self._context, state, size, 0)
        self._kept.append((list(ids), state))

    def forget(self) -> None:
        """Read everything anew from now on."""
        self._held, self._kept = [], []

    def tokens(self, ids: Sequence[int], limit: int, end: int, grammar: str = "") -> Iterator[int]:
        """The likeliest tokens after `ids`, at most `limit`, up to and with `end`."""
        rules = Grammar(grammar, self._vocabulary) if grammar else None
        seen, draft, last = list(ids), [], len(ids) + limit
        try:
            while len(seen) < last:
                scores = self.read(seen + draft, len(draft) + 1)
                for number, row in enumerate(scores):
                    token = rules.choose(row) if rules else int(row.argmax())
                    seen.append(token)
                    yield token
                    if token == end or len(seen) == last:
                        return
                    if number < len(draft) and draft[number] != token:
                        break
                draft = look_up(seen, draft=min(self.draft, last - len(seen) - 1)) if self.draft else []
        finally:
            if rules:
                rules.close()

    def read(self, ids: Sequence[int], last: int = 1) -> np.ndarray:
        """Logits behind each of the `last` last tokens, (last, vocabulary); what is known already is not read again."""
        known = min(self._recall(ids), len(ids) - last)
        llama_cpp.llama_memory_seq_rm(llama_cpp.llama_get_memory(self._context), 0, known, -1)
        self._held = list(ids[:known])
        first = len(ids) - last
        cuts = [*range(known, first, self._batch), first, len(ids)]
        for start, stop in zip(cuts, cuts[1:]):
            self._decode(ids[start:stop], start, scored=start == first)
        self._held = list(ids)
        rows = [llama_cpp.llama_get_logits_ith(self._context, number - last) for number in range(last)]
        return np.stack([np.ctypeslib.as_array(row, (self._size,)) for row in rows])

    def _decode(self, ids: Sequence[int], position: int, scored: bool) -> None:
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        try:
            batch.n_tokens = len(ids)
            for i, token in enumerate(ids):
                batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position + i, 1
                batch.seq_id[i][0], batch.logits[i] = 0, scored
            if llama_cpp.llama_decode(self._context, batch):
                raise InputError(f"llama.cpp could not read {position + len(ids):,} tokens; use a shorter prompt")
        finally:
            llama_cpp.llama_batch_free(batch)
        self.steps += 1

    def _recall(self, ids: Sequence[int]) -> int:
        """How many tokens at the start are known, from the last text or from one that was kept, which is then brought back."""
        known = _shared(self._held, ids)
        for kept, state in self._kept:
            if (shared := _shared(kept, ids)) > known:
                known = shared
                llama_cpp.llama_state_seq_set_data(self._context, state, len(state), 0)
        return known


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
