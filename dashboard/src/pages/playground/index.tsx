import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Link } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { may } from "../../lib/boot.ts";
import { bytes, moneyNano, plural } from "../../lib/format.ts";
import { useCommands } from "../../lib/keys.ts";
import { pageOf } from "../../lib/path.ts";
import { client, useRead } from "../../lib/queries.ts";
import { send as change } from "../../lib/api.ts";
import { choice, text, useUrlState } from "../../lib/url.ts";
import { Button, Kbd } from "../../ui/Button.tsx";
import { Card } from "../../ui/Card.tsx";
import { Chip } from "../../ui/Chip.tsx";
import { ComboBox } from "../../ui/ComboBox.tsx";
import { Segments, Select } from "../../ui/Fields.tsx";
import { EmptyState, Loaded, NoPermission, SkeletonRows, TooMuch } from "../../ui/States.tsx";
import { apiOf, changesOf, isTree, type Json, type Tree } from "./body.ts";
import { templatesFor, type Draft, type Forecast, type Original } from "./draft.ts";
import { Editor, JsonField } from "./Editor.tsx";
import { Results, type Show } from "./Results.tsx";
import { heard, newRun, send, type Run, type Wanted } from "./run.ts";
import "./playground.css";

const STATE = {
  from: text(""),
  kind: text(""),
  edit: choice(["turns", "json"], "turns", "replace"),
  show: choice(["text", "diff"], "text", "replace"),
} as const;
/** Browsers open six connections to one server: some are for the rest of the page. */
const AT_ONCE = 4;
const MOST_RUNS = 12;
/** Bytes of a body that can be edited as one text. */
const MOST_JSON = 1_000_000;

export default function PlaygroundPage() {
  const [{ from, kind }] = useUrlState(STATE);
  const draft = useRead<Draft>("/api/playground", { from }, { enabled: may("editor"), fresh: true });
  if (!may("editor")) {
    return (
      <>
        <PageHead title="Playground" />
        <NoPermission least="editor">Sending requests costs money, so it needs the role editor.</NoPermission>
      </>
    );
  }
  return (
    <>
      <PageHead title={from ? "Replay" : "Playground"} isFull />
      <Loaded answer={draft} what="The request could not be read" skeleton={<SkeletonRows rows={10} />}>
        {(found) => (found.original?.problem ? <CannotReplay original={found.original} /> : <Bench key={`${from} ${kind}`} draft={found} />)}
      </Loaded>
    </>
  );
}

function CannotReplay({ original }: { original: Original }) {
  return (
    <EmptyState
      title="This request cannot be sent again"
      action={
        <>
          <Link className="btn" href={pageOf.request(original.request.id)}>Open the request</Link>
          <Link className="btn" href="/playground">Begin with an empty one</Link>
        </>
      }
    >
      {original.problem}
    </EmptyState>
  );
}

/** Where a request is edited and run. */
function Bench({ draft }: { draft: Draft }) {
  const { original } = draft;
  const [state, setState] = useUrlState(STATE);
  const standard = original?.request.upstream ?? draft.upstreams.find((each) => each.is_default && !each.hindrance)?.name ?? draft.upstreams.find((each) => !each.hindrance)?.name ?? draft.default_upstream;
  const [upstream, setUpstream] = useState(standard);
  const chosen = draft.upstreams.find((each) => each.name === upstream);
  const templates = useMemo(() => templatesFor(chosen?.wire ?? "openai"), [chosen?.wire]);
  const [, template] = templates.find(([name]) => name === state.kind) ?? templates[0] ?? [];
  const before = useMemo(() => parsed(original?.body ?? null), [original]);
  const standardModel = original?.model ?? draft.models[0] ?? "";
  const [models, setModels] = useState<readonly string[]>([standardModel]);
  const [body, setBody] = useState<Tree>(() => before ?? template?.body(standardModel) ?? {});
  const [jsonProblem, setJsonProblem] = useState<string | null>(null);
  const [times, setTimes] = useState("1");
  const answers = useRef<HTMLDivElement>(null);
  const { runs, start, cancel, forget, isBusy } = useRuns();

  const dialect = original?.dialect ?? template?.dialect ?? null;
  const endpoint = original?.endpoint ?? template?.endpoint ?? "";
  const api = apiOf(dialect, endpoint);
  const edits = useMemo(() => (before ? changesOf(before, body) : []), [before, body]);
  const isText = original === null || before !== null;

  const wanted = useMemo((): Wanted => {
    if (!original) return { upstream, ...(template ? { path: template.path } : {}), body: JSON.stringify(body) };
    return { from: original.request.id, upstream, ...(edits.length ? { changes: edits } : {}) };
  }, [original, upstream, template, body, edits]);
  const namedModel = (model: string): Wanted => (model && (model !== (original?.model ?? body.model) || !original) ? { ...wanted, model } : wanted);

  const repeats = Number(times);
  const planned = models.filter((model, at) => model || at === 0).flatMap((model) => Array.from({ length: repeats }, () => model)).slice(0, MOST_RUNS);
  const hindrance = chosen?.hindrance ?? (chosen && original && !chosen.understands ? `${upstream} speaks another API than this request is written for; nothing is translated.` : null);
  const isNamed = original !== null || dialect === "gemini" || planned.every(Boolean);
  const canRun = !jsonProblem && !hindrance && planned.length > 0 && isNamed;
  const run = () => {
    if (!canRun) return;
    start(planned.map((model) => ({ model, upstream, wanted: namedModel(model) })));
    // Where the answers stand below, they are gone to.
    if (matchMedia("(max-width: 1080px)").matches) answers.current?.scrollIntoView({ block: "start" });
  };
  useCommands([
    { keys: "mod+enter", title: "Run", group: "Playground", run },
    { keys: "d", title: "Text or difference", group: "Playground", run: () => setState({ show: state.show === "text" ? "diff" : "text" }) },
  ]);

  return (
    <div className="play">
      <div className="pg-bench">
        <Card
          title="Request"
          end={
            original ? (
              <>
                from <Link className="link mono" href={pageOf.request(original.request.id)}>{original.request.id.slice(0, 13)}</Link>
              </>
            ) : undefined
          }
        >
          <div className="pg-where">
            <Select label="Upstream" value={upstream} onChange={setUpstream} options={draft.upstreams.map((each) => [each.name, each.understands ? each.name : `${each.name} (another API)`])} />
            {!original && templates.length > 1 && <Select label="Kind" value={state.kind || (templates[0]?.[0] ?? "")} onChange={(name) => setState({ kind: name })} options={templates.map(([name, each]) => [name, each.title])} />}
          </div>
          {hindrance && <p className="problem-box" role="alert">{hindrance}</p>}
          {!isNamed && <p className="caption">Name a model to run.</p>}
          <div className="pg-models">
            {models.map((model, at) => (
              <div key={at} className="pg-model">
                <ComboBox label={at === 0 ? "Model" : `Model ${at + 1}`} value={model} options={draft.models.map((value) => ({ value }))} onChange={(value) => setModels(models.map((each, index) => (index === at ? value : each)))} />
                {at > 0 && <Button size="small" kind="ghost" icon="cross" aria-label={`Leave out model ${at + 1}`} onClick={() => setModels(models.filter((_, index) => index !== at))} />}
              </div>
            ))}
            {models.length < 6 && <Button size="small" kind="ghost" icon="plus" onClick={() => setModels([...models, ""])}>Compare another model</Button>}
          </div>
          <p className="caption mono wire">POST {original?.path ?? template?.path}</p>
        </Card>
        <Card
          title="Body"
          end={
            <>
              {edits.length > 0 && <Button size="small" kind="ghost" onClick={() => before && setBody(before)}>Undo {plural(edits.length, "edit")}</Button>}
              {isText && api && <Segments label="Edit as" value={state.edit} options={[["turns", "Turns"], ["json", "JSON"]]} onChange={(edit) => setState({ edit })} />}
            </>
          }
        >
          {!isText ? (
            <p className="muted">The body is no JSON ({bytes(original?.body_bytes)}), so it is sent as it was.</p>
          ) : api && state.edit === "turns" ? (
            <Editor body={body} before={before} api={api} dialect={dialect ?? ""} endpoint={endpoint} onChange={setBody} />
          ) : (original?.body_bytes ?? 0) > MOST_JSON ? (
            <TooMuch action={api && <Button onClick={() => setState({ edit: "turns" })}>Edit its turns</Button>}>{bytes(original?.body_bytes)} of JSON are too much to be edited here as one text.</TooMuch>
          ) : (
            <>
              <JsonField label="Body" value={body} onValue={(value: Json) => isTree(value) && setBody(value)} onProblem={setJsonProblem} />
              {jsonProblem && <p className="caption bad" role="alert">{jsonProblem}</p>}
            </>
          )}
        </Card>
        <div className="pg-run-bar card pad">
          <Button kind="primary" icon="play" disabled={!canRun} onClick={run}>
            {planned.length > 1 ? `Run ${planned.length} times` : original ? "Replay" : "Run"}
          </Button>
          <span className="hide-s"><Kbd>Ctrl Enter</Kbd></span>
          <Select label="Runs of each model" isLabelHidden value={times} onChange={setTimes} options={[["1", "once"], ["2", "twice"], ["3", "3 times"], ["5", "5 times"]]} />
          {isBusy && <Button size="small" onClick={() => runs.forEach(cancel)}>Cancel all</Button>}
          <Estimate wanted={namedModel(models[0] ?? "")} times={planned.length} isOff={!canRun} />
          <p className="caption">Counts for the key <Link className="link" href={pageOf.key(draft.key)}>{draft.key}</Link>.</p>
        </div>
      </div>
      <div className="pg-outcome" ref={answers}>
        <div className="section">
          <h2>Answers</h2>
          {original?.answer && <Segments<Show> label="Show" value={state.show} options={[["text", "Text"], ["diff", "Difference"]]} onChange={(show) => setState({ show })} />}
          {edits.length > 0 && <Chip isPlain>{plural(edits.length, "edit")}</Chip>}
        </div>
        {original || runs.length ? (
          <Results original={original} runs={runs} show={state.show} onCancel={cancel} onForget={forget} />
        ) : (
          <EmptyState title="Nothing was run yet">Write a request and press Run. What comes back is recorded, priced and counted like every other request.</EmptyState>
        )}
      </div>
    </div>
  );
}

/** What it will cost, asked when the typing rests. */
function Estimate({ wanted, times, isOff }: { wanted: Wanted; times: number; isOff: boolean }) {
  const [forecast, setForecast] = useState<Forecast | null>(null);
  const asked = JSON.stringify(wanted);
  useEffect(() => {
    if (isOff) return undefined;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      change<Forecast>("POST", "/api/playground/estimate", JSON.parse(asked), undefined, stop.signal).then(setForecast, () => setForecast(null));
    }, 400);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [asked, isOff]);
  if (!forecast || isOff) return <p className="pg-estimate caption">&nbsp;</p>;
  const total = (nano: number) => moneyNano(nano * times);
  const by = { original: "by the tokens of the original", model: "by what this model answered of late", size: "by its size" }[forecast.basis];
  return (
    <p className="pg-estimate caption num" role="status">
      {forecast.typical_nano_usd !== null && <span title={by}>about <b>{total(forecast.typical_nano_usd)}</b></span>}
      {forecast.most_nano_usd !== null ? <span>{forecast.typical_nano_usd !== null ? ", " : ""}at most {total(forecast.most_nano_usd)}</span> : <span> {forecast.problem}</span>}
    </p>
  );
}

interface Wish {
  model: string;
  upstream: string;
  wanted: Wanted;
}

/** The runs of this page: a few at a time, each of which can be cancelled; all are when the page is left. */
function useRuns() {
  const [runs, setRuns] = useState<readonly Run[]>([]);
  const stops = useRef(new Map<number, AbortController>());
  const queue = useRef<(() => Promise<void>)[]>([]);
  const open = useRef(0);
  const counted = useRef(0);

  const update = useCallback((number: number, to: (run: Run) => Run) => setRuns((before) => before.map((run) => (run.number === number ? to(run) : run))), []);
  const next = useCallback(() => {
    while (open.current < AT_ONCE) {
      const job = queue.current.shift();
      if (!job) return;
      open.current += 1;
      void job().finally(() => {
        open.current -= 1;
        next();
      });
    }
  }, []);
  const start = useCallback(
    (wishes: readonly Wish[]) => {
      const made = wishes.map(({ model, upstream }) => newRun((counted.current += 1), model, upstream));
      setRuns((before) => [...made.toReversed(), ...before]);
      made.forEach(({ number }, at) => {
        const wish = wishes[at];
        if (!wish) return;
        const stop = new AbortController();
        stops.current.set(number, stop);
        queue.current.push(async () => {
          if (stop.signal.aborted) return;
          try {
            await send(wish.wanted, stop.signal, (line) => update(number, (run) => heard(run, line)));
          } catch (error) {
            if (!stop.signal.aborted) update(number, (run) => ({ ...run, state: "failed", problem: error instanceof Error ? error.message : String(error) }));
          } finally {
            stops.current.delete(number);
            void client.invalidateQueries({ queryKey: ["/api/requests"] });
          }
        });
      });
      next();
    },
    [next, update],
  );
  const cancel = useCallback(
    (run: Run) => {
      const stop = stops.current.get(run.number);
      if (!stop) return;
      stop.abort();
      update(run.number, (found) => (found.state === "running" || found.state === "waiting" ? { ...found, state: "cancelled" } : found));
    },
    [update],
  );
  const forget = useCallback((run: Run) => setRuns((before) => before.filter(({ number }) => number !== run.number)), []);
  useEffect(() => {
    const mine = stops.current;
    return () => mine.forEach((stop) => stop.abort());
  }, []);
  return { runs, start, cancel, forget, isBusy: runs.some(({ state }) => state === "running" || state === "waiting") };
}

function parsed(written: string | null): Tree | null {
  if (written === null) return null;
  try {
    const tree = JSON.parse(written) as Json;
    return isTree(tree) ? tree : null;
  } catch {
    return null;
  }
}
