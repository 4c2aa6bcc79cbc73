/** No rows: because nothing was recorded yet, because nothing happened in this time, or because the filter says so. */
import { useQueries } from "@tanstack/react-query";
import { useState } from "react";
import { get, type Problem } from "../../lib/api.ts";
import { boot } from "../../lib/boot.ts";
import { count, plural } from "../../lib/format.ts";
import type { Params } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { Button } from "../../ui/Button.tsx";
import { CopyButton } from "../../ui/CopyButton.tsx";
import { Segments } from "../../ui/Fields.tsx";
import { EmptyState } from "../../ui/States.tsx";
import { terms, without } from "./filter.ts";

export interface Count {
  requests: number;
  is_exact: boolean;
  cost_nano_usd: number;
  unpriced: number;
  failed: number;
  slow: number;
  looked_to: number | null;
  most_counted: number;
  slow_filter: string;
}

const MOST_TERMS = 6;

export function Empty({ q, span, onFilter, onAnyTime }: { q: string; span: Params; onFilter(q: string): void; onAnyTime(): void }) {
  const all = useRead<Count>("/api/requests/count", {}, { fresh: true }).data;
  const parts = terms(q).map((term, index) => ({ term, index })).filter(({ term }) => !term.isWord).slice(0, MOST_TERMS);
  const tries = useQueries({
    queries: parts.map(({ index }) => ({
      queryKey: ["/api/requests/count", { q: without(q, index), ...span }],
      queryFn: ({ signal }: { signal: AbortSignal }) => get<Count>("/api/requests/count", { q: without(q, index), ...span }, signal),
    })),
  });
  if (all?.requests === 0) return <FirstRun />;
  const [best] = parts
    .map((part, at) => ({ ...part, found: tries[at]?.data }))
    .filter(({ found }) => (found?.requests ?? 0) > 0)
    .toSorted((one, other) => (other.found?.requests ?? 0) - (one.found?.requests ?? 0));
  if (best?.found) {
    const number = `${best.found.is_exact ? "" : "over "}${count(best.found.requests)}`;
    return (
      <EmptyState title="No request fits" action={<Button onClick={() => onFilter(without(q, best.index))}><span className="wire ellipsis">Drop {best.term.text}</span></Button>}>
        <span className="mono wire">{best.term.text}</span> hides all {number} requests that the rest of the filter finds.
      </EmptyState>
    );
  }
  return (
    <EmptyState title={q ? "No request fits" : "No requests in this time"} action={<><Button onClick={onAnyTime}>Look at the last 90 days</Button>{q && <Button onClick={() => onFilter("")}>Clear the filter</Button>}</>}>
      {q ? "Not with any part of this filter, in this time." : all && `There are ${all.is_exact ? "" : "over "}${plural(all.requests, "request")} at other times.`}
    </EmptyState>
  );
}

/** A filter that the server does not understand, and what it may have meant. */
export function NotUnderstood({ q, problem, onFilter }: { q: string; problem: Problem; onFilter(q: string): void }) {
  const near = /no field `(.+?)`, perhaps `(.+?)`/.exec(problem.message);
  const at = problem.position ?? 0;
  const [, wrong = "", right = ""] = near ?? [];
  const mended = near && q.slice(at).startsWith(wrong) ? q.slice(0, at) + right + q.slice(at + wrong.length) : null;
  return (
    <EmptyState
      title="This filter is not understood"
      action={
        <>
          {mended && <Button kind="primary" onClick={() => onFilter(mended)}><span className="wire ellipsis">Use {mended}</span></Button>}
          <Button onClick={() => onFilter("")}>Clear the filter</Button>
        </>
      }
    >
      Nothing was looked for. The place is marked above.
    </EmptyState>
  );
}

const WAYS = ["curl", "Python", "JavaScript", "Environment"] as const;

function snippet(way: (typeof WAYS)[number], base: string): string {
  const url = `${base}/v1`;
  switch (way) {
    case "curl":
      return `curl ${url}/chat/completions \\\n  -H "authorization: Bearer $OPENAI_API_KEY" \\\n  -H "content-type: application/json" \\\n  -d '{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]}'`;
    case "Python":
      return `from openai import OpenAI\n\nclient = OpenAI(base_url="${url}")\nclient.chat.completions.create(\n    model="gpt-5-mini",\n    messages=[{"role": "user", "content": "Hello"}],\n)`;
    case "JavaScript":
      return `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${url}" });\nawait client.chat.completions.create({\n  model: "gpt-5-mini",\n  messages: [{ role: "user", content: "Hello" }],\n});`;
    default:
      return `export OPENAI_BASE_URL=${url}\nexport ANTHROPIC_BASE_URL=${base}`;
  }
}

function FirstRun() {
  const [way, setWay] = useState<(typeof WAYS)[number]>("curl");
  const text = snippet(way, boot.gateway || "http://localhost:8080");
  return (
    <div className="card pad first-run">
      <h2>Nothing was recorded yet</h2>
      <p className="muted">Send one request through Glassline: only the address changes, the key stays yours.</p>
      <Segments<(typeof WAYS)[number]> label="How to send it" options={WAYS.map((each) => [each, each] as const)} value={way} onChange={setWay} />
      <div className="snippet">
        <pre className="code" tabIndex={0}>{text}</pre>
        <CopyButton text={text} />
      </div>
      <p className="waiting" role="status"><span className="status live">Waiting for the first request</span></p>
    </div>
  );
}
