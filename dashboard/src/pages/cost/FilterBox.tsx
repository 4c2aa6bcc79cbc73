import { useEffect, useRef, useState } from "react";
import { Problem } from "../../lib/api.ts";
import { useCommands } from "../../lib/keys.ts";
import { TextField } from "../../ui/Fields.tsx";

export function isBadFilter(error: unknown): error is Problem {
  return error instanceof Problem && error.code === "bad_filter";
}

/** The filter of a page, written; what cannot be understood is said below it. */
export function FilterBox({ q, error, onFilter }: { q: string; error: unknown; onFilter(q: string): void }) {
  const [written, setWritten] = useState(q);
  useEffect(() => setWritten(q), [q]);
  const form = useRef<HTMLFormElement>(null);
  useCommands([{ keys: "/", title: "Filter", group: "Page", run: () => form.current?.querySelector("input")?.focus() }]);
  const problem = isBadFilter(error) ? error.message : null;
  return (
    <form
      ref={form}
      className="cost-filter"
      onSubmit={(event) => {
        event.preventDefault();
        onFilter(written.trim());
      }}
    >
      <TextField label="Filter" value={written} placeholder="key:search -model:gpt-4.1" spellCheck={false} autoComplete="off" problem={problem} onText={setWritten} onBlur={() => written.trim() !== q && onFilter(written.trim())} />
    </form>
  );
}
