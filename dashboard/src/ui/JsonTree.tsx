/** A JSON document as a tree: only the rows in view are in the page, however large it is. */
import { useVirtualizer } from "@tanstack/react-virtual";
import { useCallback, useEffect, useRef, useState, type ReactNode } from "react";
import { copy } from "../lib/clipboard.ts";
import { plural } from "../lib/format.ts";
import { pathText, type JsonRow } from "../lib/json.ts";
import { openJson, type JsonDocument } from "../lib/jsonClient.ts";
import { vars } from "../lib/vars.ts";
import { Button } from "./Button.tsx";
import { Icon } from "./Icon.tsx";
import { LongText } from "./LongText.tsx";
import { toast } from "./Toast.tsx";
import "./json.css";

const ROW = 22;
const PAGE = 200;

export function JsonTree({ text, label, height = "60vh", tools }: { text: string; label: string; height?: string; tools?: ReactNode }) {
  const [document, setDocument] = useState<JsonDocument | null>(null);
  const [length, setLength] = useState(0);
  const [problem, setProblem] = useState<string | null>(null);
  const [version, setVersion] = useState(0);
  const [matches, setMatches] = useState<{ indexes: number[]; isCut: boolean; at: number } | null>(null);
  const [whole, setWhole] = useState<{ name: string; text: string } | null>(null);

  useEffect(() => {
    const opened = openJson(text);
    let isOver = false;
    setProblem(null);
    setMatches(null);
    opened.length().then(
      (found) => {
        if (isOver) return;
        setDocument(opened);
        setLength(found);
        setVersion((old) => old + 1);
      },
      (error: Error) => !isOver && setProblem(error.message),
    );
    return () => {
      isOver = true;
      opened.close();
    };
  }, [text]);

  const renew = useCallback((found: number) => {
    setLength(found);
    setVersion((old) => old + 1);
  }, []);

  if (problem !== null) {
    return (
      <div className="json">
        <p className="caption warn">This is no JSON: {problem}</p>
        <LongText text={text} />
      </div>
    );
  }
  if (!document) return <div className="json" aria-busy="true"><p className="caption">Reading {plural(text.length, "character")}</p></div>;

  const search = async (wanted: string) => {
    const found = await document.search(wanted);
    renew(found.length);
    setMatches(wanted ? { ...found, at: 0 } : null);
  };
  const step = (by: number) => setMatches((old) => old && { ...old, at: (old.at + by + old.indexes.length) % Math.max(1, old.indexes.length) });

  return (
    <div className="json">
      <div className="json-bar">
        <Search onSearch={(wanted) => void search(wanted)} onStep={step} />
        {matches && (
          <span className="caption num" role="status">
            {matches.indexes.length ? `${matches.at + 1} of ${matches.indexes.length}${matches.isCut ? " or more" : ""}` : "Not found"}
          </span>
        )}
        <span className="end">
          <Button size="small" kind="ghost" onClick={() => void document.setAll(true).then(renew)}>Open all</Button>
          <Button size="small" kind="ghost" onClick={() => void document.setAll(false).then(renew)}>Close all</Button>
          {tools}
        </span>
      </div>
      <Rows
        key={text.length}
        document={document}
        label={label}
        length={length}
        version={version}
        height={height}
        target={matches?.indexes[matches.at] ?? null}
        onToggle={(pointer) => void document.toggle(pointer).then(renew)}
        onWhole={(row) => void document.value(row.pointer).then((value) => setWhole({ name: pathText(row.pointer), text: value }))}
      />
      {whole && (
        <section className="json-whole" aria-label={whole.name}>
          <header>
            <b className="mono ellipsis">{whole.name}</b>
            <Button size="small" onClick={() => setWhole(null)}>Close</Button>
          </header>
          <LongText text={whole.text} />
        </section>
      )}
    </div>
  );
}

function Search({ onSearch, onStep }: { onSearch(text: string): void; onStep(by: number): void }) {
  const [text, setText] = useState("");
  const latest = useRef(onSearch);
  latest.current = onSearch;
  const isFirst = useRef(true);
  useEffect(() => {
    if (isFirst.current) {
      isFirst.current = false;
      return undefined;
    }
    const timer = setTimeout(() => latest.current(text), 150);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <input
      className="input json-search"
      type="search"
      aria-label="Search keys and values"
      placeholder="Search keys and values"
      value={text}
      onChange={(event) => setText(event.target.value)}
      onKeyDown={(event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        onStep(event.shiftKey ? -1 : 1);
      }}
    />
  );
}

interface RowsProps {
  document: JsonDocument;
  label: string;
  length: number;
  version: number;
  height: string;
  target: number | null;
  onToggle(pointer: string): void;
  onWhole(row: JsonRow): void;
}

function Rows({ document, label, length, version, height, target, onToggle, onWhole }: RowsProps) {
  const box = useRef<HTMLDivElement>(null);
  const [pages, setPages] = useState<ReadonlyMap<number, JsonRow[]>>(new Map());
  const shownVersion = useRef(version);
  const [active, setActive] = useState(0);
  const virtual = useVirtualizer({ count: length, getScrollElement: () => box.current, estimateSize: () => ROW, overscan: 20 });
  const items = virtual.getVirtualItems();
  const first = Math.floor((items[0]?.index ?? 0) / PAGE);
  const last = Math.floor((items.at(-1)?.index ?? 0) / PAGE);

  useEffect(() => {
    let isOver = false;
    const isNew = shownVersion.current !== version;
    const wanted = Array.from({ length: last - first + 1 }, (_, at) => first + at).filter((page) => isNew || !pages.has(page));
    if (!wanted.length) return undefined;
    void Promise.all(wanted.map(async (page) => [page, await document.rows(page * PAGE, (page + 1) * PAGE)] as const)).then((found) => {
      if (isOver) return;
      shownVersion.current = version;
      // The old rows stay until the new ones are here: nothing flashes.
      setPages((old) => new Map([...(isNew ? [] : old), ...found]));
    });
    return () => {
      isOver = true;
    };
  }, [document, version, first, last, pages]);

  useEffect(() => {
    if (target === null) return;
    virtual.scrollToIndex(target, { align: "center" });
    setActive(target);
  }, [target, version]);

  const rowAt = (index: number) => pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  const move = (to: number) => {
    const next = Math.max(0, Math.min(length - 1, to));
    setActive(next);
    virtual.scrollToIndex(next);
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    const row = rowAt(active);
    const steps: Record<string, number> = { ArrowDown: active + 1, ArrowUp: active - 1, Home: 0, End: length - 1, PageDown: active + 20, PageUp: active - 20 };
    if (event.key in steps) move(steps[event.key] ?? active);
    else if (row && isBranch(row) && ((event.key === "ArrowRight" && !row.isOpen) || (event.key === "ArrowLeft" && row.isOpen) || event.key === "Enter")) onToggle(row.pointer);
    else if (row && event.key === "c" && !event.ctrlKey && !event.metaKey) void copyValue(document, row);
    else return;
    event.preventDefault();
  };

  return (
    <div className="json-rows" ref={box} role="tree" aria-label={label} tabIndex={0} aria-activedescendant={`json-${active}`} onKeyDown={onKeyDown} style={vars({ h: height, whole: `${virtual.getTotalSize()}px` })}>
      <div className="json-room" role="presentation">
        {items.map((item) => {
          const row = rowAt(item.index);
          return (
            <div
              key={item.key}
              id={`json-${item.index}`}
              role="treeitem"
              aria-level={(row?.depth ?? 0) + 1}
              aria-expanded={row && isBranch(row) ? row.isOpen : undefined}
              aria-selected={item.index === active}
              className={`json-row${item.index === target ? " found" : ""}${item.index === active ? " active" : ""}`}
              style={vars({ top: `${item.start}px`, depth: row?.depth ?? 0 })}
              onClick={() => setActive(item.index)}
            >
              {row && <Row row={row} document={document} onToggle={onToggle} onWhole={onWhole} />}
            </div>
          );
        })}
      </div>
    </div>
  );
}

function isBranch(row: JsonRow): boolean {
  return row.kind === "object" || row.kind === "array";
}

async function copyValue(document: JsonDocument, row: JsonRow): Promise<void> {
  if (await copy(await document.value(row.pointer))) toast("Copied the value");
}

function Row({ row, document, onToggle, onWhole }: { row: JsonRow; document: JsonDocument; onToggle(pointer: string): void; onWhole(row: JsonRow): void }) {
  const [open, close] = row.kind === "array" ? ["[", "]"] : ["{", "}"];
  return (
    <>
      {isBranch(row) ? (
        <button type="button" tabIndex={-1} className="json-twist" aria-label={row.isOpen ? "Close" : "Open"} onClick={() => onToggle(row.pointer)}>
          <Icon name={row.isOpen ? "down" : "right"} />
        </button>
      ) : (
        <span className="json-twist" />
      )}
      {row.key !== null && <span className={`json-key${typeof row.key === "number" ? " at" : ""} wire`}>{row.key}</span>}
      {isBranch(row) ? (
        <span className="json-size">{row.isOpen ? open : `${open}…${close}`} {plural(row.size, row.kind === "array" ? "item" : "key")}</span>
      ) : (
        <span className={`json-value ${row.kind} wire`}>{row.kind === "string" ? `"${row.text}${row.isCut ? "…" : ""}"` : row.text}</span>
      )}
      <span className="json-tools">
        {row.isCut && <button type="button" tabIndex={-1} onClick={() => onWhole(row)}>all {plural(row.size, "character")}</button>}
        <button type="button" tabIndex={-1} onClick={() => void copy(pathText(row.pointer)).then((isCopied) => isCopied && toast("Copied the path"))}>path</button>
        <button type="button" tabIndex={-1} onClick={() => void copyValue(document, row)}>copy</button>
      </span>
    </>
  );
}
