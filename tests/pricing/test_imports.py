import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def imported_packages(source: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_pricing_knows_nothing_of_the_proxy() -> None:
    sources = list((ROOT / "pricing").rglob("*.py"))
    assert len(sources) > 5
    for source in sources:
        assert "proxy" not in imported_packages(source), source


def test_importing_pricing_loads_neither_price_data_nor_tokenizer() -> None:
    script = (
        "import sys, pricing, pricing.tokens\n"
        "print(sorted({'tiktoken', 'pydantic', 'proxy', 'pricing.book'} & set(sys.modules)))\n"
        "print(sys.modules['pricing.table'].load_table.cache_info().currsize)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "['pricing.book']\n0\n"


def test_what_prices_never_loads_the_tokenizer() -> None:
    script = (
        "import sys, pricing; pricing.PriceBook(); print('tiktoken' in sys.modules, 'pricing.tokens' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False False\n"
