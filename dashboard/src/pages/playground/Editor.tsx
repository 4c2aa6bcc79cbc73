import { useEffect, useId, useRef, useState, type ReactNode } from "react";
import { count, plural } from "../../lib/format.ts";
import { Button, IconButton } from "../../ui/Button.tsx";
import { Checkbox, TextField } from "../../ui/Fields.tsx";
import { CodeEditor } from "../../ui/CodeEditor.tsx";
import { isSame, isTree, paramsOf, turnsOf, valueAt, withValue, type Api, type Json, type Param, type Place, type Tree, type Turn } from "./body.ts";

interface EditorProps {
  body: Tree;
  /** The body as it was stored; null: there is no original. */
  before: Tree | null;
  api: Api;
  dialect: string;
  endpoint: string;
  onChange(body: Tree): void;
}

/** Of a long conversation the end is what is edited: what comes before is folded until it is asked for. */
const LATEST = 24;
const LONG_TEXT = 6_000;

/** A conversation as cards and its parameters as a form. What differs from the original is marked. */
export function Editor({ body, before, api, dialect, endpoint, onChange }: EditorProps) {
  const turns = turnsOf(body, api);
  const [shown, setShown] = useState(LATEST);
  const isOpen = (turn: Turn, at: number) => turns.length <= shown + 2 || turn.at === null || at >= turns.length - shown;
  const firstFolded = turns.findIndex((turn, at) => !isOpen(turn, at));
  const folded = turns.filter((turn, at) => !isOpen(turn, at)).length;
  const set = (at: Place, value: Json | undefined) => {
    const changed = withValue(body, at, value);
    if (isTree(changed)) onChange(changed);
  };
  const add = () => {
    const list = valueAt(body, api.list);
    const lastRole = turns.at(-1)?.role;
    const role = lastRole === "user" ? (api.roles.find((each) => each === "assistant" || each === "model") ?? "user") : "user";
    set(api.list, [...(Array.isArray(list) ? list : typeof list === "string" ? [api.made("user", list)] : []), api.made(role, "")]);
  };
  return (
    <div className="pg-by-turns">
      <ol className="pg-turns">
        {turns.map((turn, at) =>
          isOpen(turn, at) ? (
            <TurnCard key={at} turn={turn} roles={api.roles} isEdited={before !== null && isEdited(turn, body, before)} onSet={set} />
          ) : (
            at === firstFolded && (
              <li key="folded" className="pg-folded">
                <Button size="small" kind="ghost" icon="down" onClick={() => setShown(shown + 200)}>Show {plural(Math.min(200, folded), "earlier turn")} of {count(folded)}</Button>
              </li>
            )
          ),
        )}
      </ol>
      <Button size="small" icon="plus" onClick={add}>Add a turn</Button>
      <Params params={paramsOf(dialect, endpoint, body)} body={body} before={before} onSet={set} />
      <Tools body={body} before={before} onSet={set} />
    </div>
  );
}

function isEdited(turn: Turn, body: Tree, before: Tree): boolean {
  if (turn.at) return !isSame(valueAt(body, turn.at), valueAt(before, turn.at));
  return turn.parts.some((part) => !isSame(valueAt(body, part.at), valueAt(before, part.at)));
}

function TurnCard({ turn, roles, isEdited, onSet }: { turn: Turn; roles: readonly string[]; isEdited: boolean; onSet(at: Place, value: Json | undefined): void }) {
  const id = useId();
  const { at, roleAt } = turn;
  return (
    <li className={`pg-turn ${isEdited ? "pg-edited" : ""}`} data-role={turn.role}>
      <header>
        {roleAt ? (
          <select className="pg-role" aria-label="Role" value={turn.role} onChange={(event) => onSet(roleAt, event.target.value)}>
            {[...new Set([turn.role, ...roles])].map((role) => <option key={role}>{role}</option>)}
          </select>
        ) : (
          <span className="pg-role">{turn.role}</span>
        )}
        {isEdited && <em>edited</em>}
        {at && <IconButton icon="trash" label="Take this turn away" onClick={() => onSet(at, undefined)} />}
      </header>
      {turn.parts.map((part, number) =>
        "text" in part ? (
          <textarea key={number} id={`${id}-${number}`} className={`wire ${part.text.length > LONG_TEXT ? "pg-long" : ""}`} aria-label={`Text of ${turn.role}`} rows={rowsFor(part.text)} value={part.text} spellCheck={false} onChange={(event) => onSet(part.at, event.target.value)} />
        ) : (
          <p key={number} className="pg-note" title="Edit it as JSON">{part.note}</p>
        ),
      )}
    </li>
  );
}

/** Where the browser cannot size a field by its content, by its lines. */
function rowsFor(text: string): number {
  const lines = text.split("\n", 40).reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / 80)), 0);
  return Math.min(18, Math.max(2, lines));
}

function Params({ params, body, before, onSet }: { params: readonly Param[]; body: Tree; before: Tree | null; onSet(at: Place, value: Json | undefined): void }) {
  return (
    <fieldset className="pg-params">
      <legend>Parameters</legend>
      {params.map((param) => {
        const value = valueAt(body, param.at);
        const isEdited = before !== null && !isSame(value, valueAt(before, param.at));
        return <Framed key={param.label} isEdited={isEdited}><ParamField param={param} value={value} onSet={onSet} /></Framed>;
      })}
    </fieldset>
  );
}

function Framed({ isEdited, children }: { isEdited: boolean; children: ReactNode }) {
  return <div className={isEdited ? "pg-edited" : ""}>{children}</div>;
}

function ParamField({ param, value, onSet }: { param: Param; value: Json | undefined; onSet(at: Place, value: Json | undefined): void }) {
  const id = useId();
  if (param.kind === "flag") return <Checkbox label={param.label} isChecked={value === true} onChange={(isOn) => onSet(param.at, isOn ? true : undefined)} />;
  if (param.kind === "word") {
    return (
      <div className="field">
        <label htmlFor={id}>{param.label}</label>
        <select id={id} className="input" value={typeof value === "string" ? value : ""} onChange={(event) => onSet(param.at, event.target.value || undefined)}>
          <option value="">not set</option>
          {[...new Set([...(typeof value === "string" ? [value] : []), ...(param.options ?? [])])].map((option) => <option key={option}>{option}</option>)}
        </select>
      </div>
    );
  }
  const shown = typeof value === "number" || typeof value === "string" ? String(value) : "";
  return (
    <TextField
      label={param.label}
      inputMode={param.kind === "whole" ? "numeric" : "decimal"}
      placeholder="not set"
      defaultValue={shown}
      key={shown}
      onBlur={(event) => {
        const text = event.target.value.trim();
        if (text === shown) return;
        const number = Number(text);
        if (text === "") onSet(param.at, undefined);
        else if (Number.isFinite(number)) onSet(param.at, number);
        else event.target.value = shown;
      }}
      onKeyDown={(event) => event.key === "Enter" && !event.metaKey && !event.ctrlKey && event.currentTarget.blur()}
      onChange={() => undefined}
    />
  );
}

/** Tools are JSON whatever the API. */
function Tools({ body, before, onSet }: { body: Tree; before: Tree | null; onSet(at: Place, value: Json | undefined): void }) {
  const tools = body.tools;
  if (tools === undefined) return null;
  const isEdited = before !== null && !isSame(tools, before.tools);
  return (
    <details className={`pg-tools-json ${isEdited ? "pg-edited" : ""}`}>
      <summary>Tools {Array.isArray(tools) && <span className="muted">{tools.length}</span>} {isEdited && <em>edited</em>}</summary>
      <JsonField label="Tools" value={tools} onValue={(value) => onSet(["tools"], value)} />
    </details>
  );
}

/** A value as JSON text; what is no JSON is said and not taken. The text stays as it was typed while it means the value. */
export function JsonField({ label, value, onValue, onProblem }: { label: string; value: Json; onValue(value: Json): void; onProblem?(problem: string | null): void }) {
  const [text, setText] = useState(() => JSON.stringify(value, null, 2));
  const meant = useRef(value);
  useEffect(() => {
    if (isSame(meant.current, value)) return;
    meant.current = value;
    setText(JSON.stringify(value, null, 2));
    onProblem?.(null);
  }, [value, onProblem]);
  const read = (written: string) => {
    setText(written);
    try {
      meant.current = JSON.parse(written) as Json;
    } catch (error) {
      onProblem?.(error instanceof Error ? error.message : "This is not JSON");
      return;
    }
    onProblem?.(null);
    onValue(meant.current);
  };
  return <CodeEditor label={label} language="json" value={text} minHeight={220} onChange={read} />;
}
