"""Documentation that cannot rot: what the code has, the documents say, and what they say, the code has."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

import pytest
import yaml
from pydantic import BaseModel

from proxy.cli.parser import build_parser
from proxy.config import Config, load_config, parse_config
from proxy.gateway import envelopes
from proxy.gateway.dialects import ALIASES
from proxy.providers import PROVIDERS
from tests.harness.process import ROOT, clean_environment
from tests.store.test_sqlite import PROMISED_COLUMNS

EXAMPLE = ROOT / "config.example.yaml"
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])
TARGETS = [
    "help",
    "run",
    "demo",
    "install",
    "test",
    "check",
    "format",
    "lint",
    "types",
    "imports",
    "cov",
    "ui",
    "docs",
    "bench",
    "chaos",
    "docker",
]
EXAMPLE_ENVIRONMENT = {"SEARCH_TEAM_KEY": "sk-search-team"}


def uncommented(text: str) -> str:
    """Turn the examples of the file (`#key`, `#  key`) into configuration; prose (`# Words`) stays a comment."""
    return re.sub(r"(?m)^#(?=\S|  )", "", text)


def sections_inside(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for item in get_args(annotation) for section in sections_inside(item)]


def schema_keys(section: type[BaseModel], path: str = "") -> Iterator[str]:
    """Name every key as docs/configuration.md does: `keys[].rate_limits.concurrent`, `upstreams.<name>.wire`."""
    for name, field in section.model_fields.items():
        here = f"{path}.{name}" if path else name
        yield here
        written = str(field.annotation)
        for inner in sections_inside(field.annotation):
            below = f"{here}[]" if "tuple[" in written else f"{here}.<name>" if "dict[" in written else here
            yield from schema_keys(inner, below)


def described_elsewhere(key: str) -> bool:
    """Budgets of a key and timeouts of an upstream have the keys of the sections that are described once."""
    return key.startswith(("keys[].budgets[].", "upstreams.<name>.timeouts."))


KEYS = [key for key in schema_keys(Config) if not described_elsewhere(key)]


def example_keys(tree: Any, path: str = "") -> Iterator[str]:
    if isinstance(tree, list):
        for item in tree:
            yield from example_keys(item, f"{path}[]")
    if isinstance(tree, dict):
        for name, value in tree.items():
            here = f"{path}.<name>" if path == "upstreams" else f"{path}.{name}" if path else name
            yield here
            yield from example_keys(value, here)


def test_the_example_configuration_holds_the_defaults() -> None:
    assert load_config(EXAMPLE, environment={}).model_dump() == Config().model_dump()


def test_the_examples_in_the_example_configuration_can_be_used() -> None:
    config = parse_config(uncommented(EXAMPLE.read_text()), environment=EXAMPLE_ENVIRONMENT)
    assert set(config.upstreams) == {"openai", "local", "azure", "bedrock", "bedrock-tests"}
    assert config.keys[0].budgets[0].limit_usd == 500


@pytest.mark.parametrize("key", KEYS)
def test_every_configuration_key_stands_in_the_example(key: str) -> None:
    shown = set(example_keys(yaml.safe_load(uncommented(EXAMPLE.read_text()))))
    assert key in shown | {name.removeprefix("keys[].") for name in shown if described_elsewhere(name)}


def test_every_line_of_the_example_is_explained() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("# ") and line != "#"]
    assert [line for line in lines if not re.search(r"\S\s+# \S", line)] == []


@pytest.mark.parametrize("key", KEYS)
def test_every_configuration_key_stands_in_the_documentation(key: str) -> None:
    assert f"\n| `{key}` | " in CONFIGURATION


def documented_keys() -> dict[str, str]:
    rows = re.findall(r"(?m)^\| `([^`]+)` \|([^|]*)\|", CONFIGURATION)
    return {key: default.strip() for key, default in rows}


def test_every_documented_configuration_key_exists() -> None:
    assert set(documented_keys()) == set(KEYS)


@pytest.mark.parametrize(
    ("key", "default"),
    [(key, cell.strip("`")) for key, cell in documented_keys().items() if re.fullmatch(r"`[^`]+`", cell)],
)
def test_every_documented_default_is_the_default(key: str, default: str) -> None:
    section, _, name = re.sub(r"\[\]|\.<name>", "", key).rpartition(".")
    if section == "upstreams" and name == "timeouts":
        return  # its cell names the section that takes its place
    rows: dict[str, Any] = {
        "keys": {"name": "a", "key": "12345678"},
        "budgets": {"name": "a", "limit_usd": 1, "window": "day"},
        "pricing.overrides": {"model": "a", "input": 1},
        "upstreams": {},
    }
    value = yaml.safe_load(default)
    if section.startswith("upstreams."):
        within = {section.partition(".")[2]: {name: value}}
        assert parse_config(yaml.safe_dump({"upstreams": {"a": within}})) == parse_config("upstreams: {a: {}}")
        return
    plain = rows.get(section)
    if plain is None:
        tree: Any = {name: value}
        for part in reversed(section.split(".") if section else []):
            tree = {part: tree}
        assert parse_config(yaml.safe_dump(tree)) == Config()
        return

    def with_row(row: dict[str, Any]) -> Config:
        whole: Any = {"a": row} if section == "upstreams" else [row]
        for part in reversed(section.split(".")):
            whole = {part: whole}
        return parse_config(yaml.safe_dump(whole))

    assert with_row({**plain, name: value}) == with_row(plain)


@pytest.mark.parametrize("code", sorted(envelopes.CODES))
def test_every_error_code_stands_in_the_documentation(code: str) -> None:
    assert f"\n| `{code}` | " in (ROOT / "docs" / "errors.md").read_text()


def test_every_documented_error_code_exists() -> None:
    codes = re.findall(r"(?m)^\| `([a-z_]+)` \| ", (ROOT / "docs" / "errors.md").read_text())
    assert set(codes) == set(envelopes.CODES)


def test_every_column_of_the_public_view_stands_in_the_documentation_in_its_order() -> None:
    documented = re.findall(r"(?m)^\| `(\w+)` \| (?:text|integer|real) \| ", (ROOT / "docs" / "records.md").read_text())
    assert documented == list(PROMISED_COLUMNS)


def test_every_built_in_upstream_stands_in_the_documentation_with_its_address() -> None:
    documented = re.findall(r"(?m)^\| (\w+) \| (?:`([^`]+)`|none)", CONFIGURATION)
    assert documented == [(name, provider.base_url or "") for name, provider in PROVIDERS.items()]


@pytest.mark.parametrize("header", sorted(row.header.decode() for row in ALIASES))
def test_every_header_of_other_gateways_stands_in_the_documentation(header: str) -> None:
    shown = (ROOT / "docs" / "http.md").read_text().lower()
    assert f"`{header}*`" in shown if header.endswith("-") else re.search(rf"`{header}[`:]", shown)


def make_help() -> dict[str, str]:
    shown = subprocess.run(
        ["make", "-s", "help"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return dict(line.strip().split(None, 1) for line in shown.stdout.splitlines())


def test_make_help_explains_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    declared = set(" ".join(re.findall(r"(?m)^\.PHONY: (.*)$", makefile)).split())
    assert set(make_help()) == declared
    assert declared >= set(TARGETS)


def test_make_without_a_target_is_make_help() -> None:
    bare = subprocess.run(
        ["make", "-s"], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=30, check=True
    )
    assert "make" not in bare.stderr
    assert bare.stdout.split() == [word for line in make_help().items() for word in " ".join(line).split()]


def readme_start() -> list[str]:
    return (ROOT / "README.md").read_text().splitlines()[:40]


def test_the_readme_says_in_forty_lines_what_it_is_and_what_it_is_not() -> None:
    title, blank, sentence, *rest = readme_start()
    assert (title, blank) == ("# Glassline", "")
    assert sentence.startswith("Glassline is ")
    assert sentence.count(". ") == 0, "one sentence"
    assert any(re.search(r"\bis not\b", line) for line in rest[:6])


def test_the_readme_shows_in_forty_lines_the_two_commands_a_snippet_and_what_one_sees() -> None:
    text = "\n".join(readme_start())
    places = [text.index(part) for part in ("make run", "make test", "```python", "base_url", "What you then see")]
    assert places == sorted(places)


def test_the_readme_leads_to_every_document() -> None:
    text = (ROOT / "README.md").read_text()
    missing = [path.name for path in DOCUMENTS if path.parent.name == "docs" and f"(docs/{path.name})" not in text]
    assert missing == []


def test_the_snippet_of_the_readme_is_python() -> None:
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(snippets) == 1
    compile(snippets[0], "README.md", "exec")


def test_the_configuration_in_the_readme_can_be_used() -> None:
    blocks = re.findall(r"(?m)(?:^    .*\n|^\n)+", (ROOT / "README.md").read_text())
    found = [block for block in blocks if "keys:" in block or "upstreams:" in block]
    assert len(found) == 2
    for block in found:
        parse_config(block, environment=EXAMPLE_ENVIRONMENT)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text())
    assert [link for link in links if not leads_somewhere(document, unquote(link))] == []


def leads_somewhere(document: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (document.parent / path) if path else document
    if not target.exists() or not anchor:
        return target.exists()
    headings = re.findall(r"(?m)^#+ (.*)$", target.read_text())
    return anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_named_in_documents_exist(document: Path) -> None:
    commands = next(iter(build_parser()._subparsers._group_actions)).choices  # type: ignore[union-attr]
    named = set(re.findall(r"(?:`|\$ |^    |bin/)glassline ([a-z]+)", document.read_text(), re.MULTILINE))
    assert named - set(commands or ()) == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_targets_named_in_documents_exist(document: Path) -> None:
    named = set(re.findall(r"(?:`|^    )make ([a-z]+)", document.read_text(), re.MULTILINE))
    assert named - set(make_help()) == set()
