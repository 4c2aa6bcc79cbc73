/**
 * The filter bar: terms as chips, what is being typed behind them, and what it could become below.
 *
 * The text of the address is the filter. A chip that is pressed becomes text again; what is typed becomes a chip with
 * Enter. Mistakes are told by the server, with their place.
 */
import { useId, useMemo, useRef, useState, type KeyboardEvent } from "react";
import { Problem } from "../../lib/api.ts";
import { short } from "../../lib/format.ts";
import { useCommands } from "../../lib/keys.ts";
import type { Params } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { Icon } from "../../ui/Icon.tsx";
import { quoted, terms, typing, withTerm, without, type Term, type Typing } from "./filter.ts";

interface Field {
  name: string;
  kind: "text" | "number" | "money" | "duration" | "flag";
  about: string;
  has_values: boolean;
}

interface Values {
  values: { value: string; requests: number }[];
  newest: number | null;
}

interface Option {
  id: string;
  title: string;
  note: string;
  /** What the typed term becomes. */
  becomes: string;
  /** It is a whole term. */
  isDone: boolean;
}

const EXAMPLES: Readonly<Record<Field["kind"], readonly string[]>> = {
  text: [],
  flag: ["true", "false"],
  number: [">1k", "0..100"],
  money: [">$0.01", ">$1"],
  duration: [">2s", ">500ms", "1s..5s"],
};
const MOST_OPTIONS = 12;

export interface FilterBarProps {
  q: string;
  /** The span in which values are counted. */
  span: Params;
  /** What the server said of the filter. */
  error: unknown;
  onChange(q: string): void;
}

export function FilterBar({ q, span, error, onChange }: FilterBarProps) {
  const input = useRef<HTMLInputElement>(null);
  const listId = useId();
  const [text, setText] = useState("");
  const [isOpen, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const chips = useMemo(() => terms(q), [q]);
  const part = useMemo(() => typing(text), [text]);
  const options = useOptions(part, q, span, isOpen);
  const problem = error instanceof Problem && error.code === "bad_filter" ? error : null;
  const wrong = problem?.position === null || !problem ? -1 : chips.findLastIndex((chip) => chip.start <= (problem.position ?? 0));

  useCommands([{ keys: "/", title: "Filter", group: "Page", run: () => input.current?.focus() }]);

  const commit = (added: string) => {
    setText("");
    setActive(-1);
    if (added.trim()) onChange(withTerm(q, added));
  };
  const take = (option: Option) => {
    const kept = text.slice(0, text.length - lastLength(text));
    setActive(-1);
    if (option.isDone) commit(kept + option.becomes);
    else setText(kept + option.becomes);
    input.current?.focus();
  };
  const edit = (index: number) => {
    const chip = chips[index];
    if (!chip) return;
    setText([text.trim(), chip.text].filter(Boolean).join(" "));
    onChange(without(q, index));
    input.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent<HTMLInputElement>) => {
    if (event.nativeEvent.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const chosen = options[active];
    if (step) {
      setOpen(true);
      setActive((before) => (options.length ? (before + step + (before < 0 && step < 0 ? 1 : 0) + options.length) % options.length : -1));
    } else if (event.key === "Enter" && isOpen && chosen) take(chosen);
    else if (event.key === "Tab" && !event.shiftKey && isOpen && text && (chosen ?? options[0])) take((chosen ?? options[0]) as Option);
    else if (event.key === "Enter") {
      commit(text);
      setOpen(false);
    }
    else if (event.key === "Backspace" && text === "" && chips.length) edit(chips.length - 1);
    else if (event.key === "Escape") {
      if (isOpen && options.length) setOpen(false);
      else input.current?.blur();
    } else return;
    event.preventDefault();
  };

  return (
    <div className="filter">
      <div className="filter-box" data-wrong={problem !== null} onPointerDown={(event) => event.target === event.currentTarget && requestAnimationFrame(() => input.current?.focus())}>
        <Icon name="search" />
        {chips.map((chip, index) => (
          <FilterChip key={`${chip.start}-${chip.text}`} chip={chip} isWrong={index === wrong} onEdit={() => edit(index)} onRemove={() => onChange(without(q, index))} />
        ))}
        <input
          ref={input}
          className="filter-text"
          role="combobox"
          aria-label="Filter"
          aria-expanded={isOpen && options.length > 0}
          aria-controls={listId}
          aria-autocomplete="list"
          aria-activedescendant={isOpen && active >= 0 ? `${listId}-${active}` : undefined}
          aria-invalid={problem !== null}
          aria-describedby={problem ? `${listId}-problem` : undefined}
          placeholder={chips.length ? "Add a filter, or words" : "Filter, or words to find in prompts and answers"}
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          enterKeyHint="search"
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setOpen(true);
            setActive(-1);
          }}
          onFocus={() => setOpen(true)}
          onBlur={() => setOpen(false)}
          onKeyDown={onKeyDown}
        />
        {(chips.length > 0 || text) && (
          <button type="button" className="filter-clear" aria-label="Clear the filter" onClick={() => { setText(""); onChange(""); input.current?.focus(); }}>
            <Icon name="cross" />
          </button>
        )}
        <kbd className="hide-s" aria-hidden="true">/</kbd>
      </div>
      {isOpen && options.length > 0 && (
        <ul className="overlay menu filter-options" role="listbox" id={listId} aria-label="Completions">
          {options.map((option, index) => (
            // Pressed before the field loses the focus, or the list would be gone by then.
            <li key={option.id} id={`${listId}-${index}`} role="option" aria-selected={index === active} data-focused={index === active || undefined} onPointerDown={(event) => { event.preventDefault(); take(option); }}>
              <span className="wire ellipsis">{option.title}</span>
              <span className="note num">{option.note}</span>
            </li>
          ))}
        </ul>
      )}
      {problem && (
        <p className="filter-problem" role="alert" id={`${listId}-problem`}>
          <Fault q={q} position={problem.position ?? 0} term={chips[wrong]} />
          <span className="wire">{problem.message.replace(/; fields: .*$/, "").replace(/ \(at character \d+\)$/, "")}</span>
        </p>
      )}
    </div>
  );
}

function FilterChip({ chip, isWrong, onEdit, onRemove }: { chip: Term; isWrong: boolean; onEdit(): void; onRemove(): void }) {
  if (chip.isWord) return <span className="faint">{chip.text}</span>;
  return (
    <span className={`chip filter-chip${isWrong ? " wrong" : ""}`}>
      <button type="button" className="filter-term wire" title="Edit" onClick={onEdit}>
        {chip.field ? <><b>{chip.isNegated ? "−" : ""}{chip.field}</b>:{chip.value || <i className="faint">none</i>}</> : chip.text}
      </button>
      <button type="button" aria-label={`Remove ${chip.text}`} onClick={onRemove}>
        <Icon name="cross" />
      </button>
    </span>
  );
}

/** The filter as it was written, with the place that is at fault. */
function Fault({ q, position, term }: { q: string; position: number; term: Term | undefined }) {
  const end = term && term.start <= position ? Math.max(position + 1, term.start + term.text.length) : position + 1;
  return (
    <code className="wire">
      {q.slice(Math.max(0, position - 30), position)}
      <mark>{q.slice(position, end) || " "}</mark>
      {q.slice(end, end + 30)}
    </code>
  );
}

/** How long the term is that is being typed. */
function lastLength(text: string): number {
  return /\s$/.test(text) ? 0 : (terms(text).at(-1)?.text.length ?? 0);
}

function useOptions(part: Typing, q: string, span: Params, isOpen: boolean): Option[] {
  const fields = useRead<{ fields: Field[] }>("/api/filters", {}, { enabled: isOpen }).data?.fields ?? [];
  const field = fields.find((each) => each.name === part.field.toLowerCase());
  const isTag = /^meta\../.test(part.field);
  const isAsking = isOpen && part.kind === "value" && (isTag || field?.has_values === true);
  const values = useRead<Values>("/api/requests/values", { field: part.field, prefix: part.part, q, ...span, limit: MOST_OPTIONS }, { enabled: isAsking, fresh: true });
  const tags = useRead<Values>("/api/requests/values", { field: "meta", ...span }, { enabled: isOpen && part.kind === "field" && part.part.startsWith("m") });
  if (part.kind === "none") return [];
  if (part.kind === "value") {
    const examples = (field && EXAMPLES[field.kind]) ?? [];
    const written = examples.filter((value) => value.startsWith(part.part)).map((value) => valueOption(part, value, ""));
    // What occurs under a filter that is wrong cannot be counted; what was typed is then all there is.
    const found = isAsking ? (values.data?.values ?? []).map((each) => valueOption(part, quoted(each.value), short(each.requests), each.value)) : [];
    return [...written, ...found].slice(0, MOST_OPTIONS);
  }
  const wanted = part.part.toLowerCase();
  const known: Option[] = fields
    .filter((each) => each.name.startsWith(wanted))
    .map((each) => (part.before.endsWith("has:") ? { id: each.name, title: `has:${each.name}`, note: each.about, becomes: part.before + each.name, isDone: true } : fieldOption(part, each.name, each.about)));
  const more = (tags.data?.values ?? []).map((each) => fieldOption(part, `meta.${each.value}`, "a tag"));
  return [...known, ...more.filter((each) => each.title.startsWith(wanted))].slice(0, MOST_OPTIONS);
}

function fieldOption(part: Typing, name: string, about: string): Option {
  return { id: name, title: `${name}:`, note: about, becomes: `${part.before}${name}:`, isDone: false };
}

function valueOption(part: Typing, value: string, note: string, title = value): Option {
  return { id: `=${value}`, title, note, becomes: part.before + value, isDone: true };
}
