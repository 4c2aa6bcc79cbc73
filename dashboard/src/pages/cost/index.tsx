/** What was spent, on what, whether that is more than before, and why. */
import { lazy, Suspense } from "react";
import { PageHead } from "../../app/Layout.tsx";
import { TimeRange } from "../../app/TimeRange.tsx";
import { Problem } from "../../lib/api.ts";
import { serverNow } from "../../lib/boot.ts";
import { change as changeText, money, moneyNano, short } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { rangeName, resolve } from "../../lib/time.ts";
import { choice, flag, text, timeParams, useUrlState } from "../../lib/url.ts";
import { useZone } from "../../lib/zone.ts";
import { Link } from "wouter";
import { Card, Facts, Section } from "../../ui/Card.tsx";
import { Checkbox, Select } from "../../ui/Fields.tsx";
import { Chip } from "../../ui/Chip.tsx";
import { EmptyState, Loaded, Skeleton, TooMuch } from "../../ui/States.tsx";
import { CostTable } from "./CostTable.tsx";
import { FilterBox, isBadFilter } from "./FilterBox.tsx";
import { axisMoney, chartLines, GROUPING_NAMES, GROUPINGS, MEASURE_NAMES, MEASURES, measured, type Costs, type CostSeries, type Forecast, type Measure } from "./costs.ts";
import { useMemo } from "react";
import "./cost.css";

const TimeChart = lazy(() => import("../../ui/TimeChart.tsx").then((module) => ({ default: module.TimeChart })));
const WhatChanged = lazy(() => import("./WhatChanged.tsx"));

const BY = [...GROUPINGS, "key,model"] as const;
const STACKS = ["model", "key", "user", "upstream", "provider", "endpoint", "environment", "prompt", "version", "none"] as const;
/** Groupings whose sums know what changed: a session and a tag are none. */
const EXPLAINED = new Set<string>(["model", "key", "user", "upstream", "provider", "endpoint", "environment", "prompt", "version"]);

const SCHEMA = {
  ...timeParams("now-7d"),
  by: text("model"),
  stack: choice(STACKS, "model"),
  measure: choice(MEASURES, "cost"),
  q: text(""),
  compare: choice(["prev", "none"] as const, "prev"),
  sort: text("-cost"),
  all: flag(false, "replace"),
} as const;

export default function CostPage() {
  const [state, set] = useUrlState(SCHEMA);
  const { from, to, by, stack, measure, q, compare } = state;
  const range = { from, to };
  const compares = compare === "prev";
  const costs = useRead<Costs>("/api/cost", { by, from, to, q, compare: compares ? "prev" : "" }, { every: 60_000 });
  const tag = by.startsWith("meta.") ? by.slice("meta.".length) : "";
  return (
    <>
      <PageHead title="Cost" tools={<TimeRange range={range} onChange={(chosen) => set(chosen)} />} />
      <div className="cost-tools">
        <Select label="Measure" value={measure} options={MEASURES.map((name) => [name, MEASURE_NAMES[name]])} onChange={(chosen) => set({ measure: chosen })} />
        <Select label="Rows by" value={tag ? "tag" : (BY.find((name) => name === by) ?? "model")} options={[...BY.map((name) => [name, GROUPING_NAMES[name] ?? name] as [string, string]), ["tag", "Tag…"]]} onChange={(chosen) => set({ by: chosen === "tag" ? "meta.team" : chosen })} />
        {tag !== "" && <TagName tag={tag} onTag={(name) => set({ by: `meta.${name}` })} />}
        <Select label="Chart stacked by" value={stack} options={STACKS.map((name) => [name, name === "none" ? "Nothing" : (GROUPING_NAMES[name] ?? name)])} onChange={(chosen) => set({ stack: chosen })} />
        <FilterBox q={q} error={costs.error} onFilter={(written) => set({ q: written })} />
        <Checkbox label="Compare with the period before" isChecked={compares} onChange={(isOn) => set({ compare: isOn ? "prev" : "none" })} />
      </div>
      {/* A filter that is not understood is told at the filter, and at no other place. */}
      {isTooMuch(costs.error) && (
        <TooMuch action={<button type="button" className="btn" onClick={() => set({ from: "now-24h", to: "now" })}>Last 24 hours</button>}>
          This reads every request of the range, and took longer than two seconds. A shorter range, or a grouping without a filter, is answered from sums.
        </TooMuch>
      )}
      {!isBadFilter(costs.error) && !isTooMuch(costs.error) && (
        <>
          <div className="columns-of-facts">
            <Loaded answer={costs} what="Costs could not be read" skeleton={<Skeleton height="66px" />}>
              {(answer) => <Summary costs={answer} q={q} range={range} />}
            </Loaded>
          </div>
          <Chart range={range} stack={stack} q={q} measure={measure} onRange={(chosen) => set(chosen)} />
          {compares && !q && (
            <Suspense fallback={<Skeleton height="160px" />}>
              <WhatChanged by={EXPLAINED.has(by) ? by : "model"} range={range} />
            </Suspense>
          )}
          {compares && q && <p className="caption">Why it changed is told from sums, and these know no filter: take the filter away to see it.</p>}
          <Section title={tag ? `By tag ${tag}` : `By ${(GROUPING_NAMES[by] ?? by).toLowerCase()}`} note={[tag && "whole days, UTC", compares && "with the change to the period before"].filter(Boolean).join("; ")} />
          <Loaded answer={costs} what="Costs could not be read" skeleton={<Skeleton height="320px" />}>
            {(answer) =>
              answer.rows.length ? (
                <CostTable costs={answer} by={by} range={range} q={q} measure={measure} compares={compares} hasSwatch={by === stack} sort={state.sort} onSort={(sort) => set({ sort })} isWhole={state.all} onWhole={() => set({ all: true })} />
              ) : (
                <Nothing range={range} q={q} onWider={() => set({ from: "now-90d", to: "now" })} />
              )
            }
          </Loaded>
        </>
      )}
    </>
  );
}

function isTooMuch(error: unknown): boolean {
  return error instanceof Problem && error.status === 503 && error.message.includes("too long");
}

function TagName({ tag, onTag }: { tag: string; onTag(name: string): void }) {
  return (
    <form
      className="field"
      onSubmit={(event) => {
        event.preventDefault();
        const name = String(new FormData(event.currentTarget).get("tag") ?? "").trim();
        if (name) onTag(name);
      }}
    >
      <label htmlFor="tag-name">Tag</label>
      <input className="input" id="tag-name" name="tag" key={tag} defaultValue={tag} onBlur={(event) => event.target.value.trim() && event.target.value !== tag && onTag(event.target.value.trim())} />
    </form>
  );
}

function Nothing({ range, q, onWider }: { range: { from: string; to: string }; q: string; onWider(): void }) {
  const zone = useZone();
  return (
    <EmptyState title="Nothing was asked" action={<button type="button" className="btn" onClick={onWider}>Last 90 days</button>}>
      No request {q && <>that fits <Chip isPlain>{q}</Chip></>} in {rangeName(range, zone, serverNow()).toLowerCase()}.
    </EmptyState>
  );
}

function Summary({ costs, q, range }: { costs: Costs; q: string; range: { from: string; to: string } }) {
  const forecast = useRead<Forecast>("/api/cost/forecast", {}, { every: 60_000 });
  const { total } = costs;
  const before = total.previous;
  const difference = before ? total.cost_nano_usd - before.cost_nano_usd : null;
  const projected = forecast.data?.projected_nano_usd;
  const unpricedQ = q ? `(${q}) unpriced:true` : "unpriced:true";
  const perRequest = measured("cost_per_request", total);
  return (
    <Facts
      facts={[
        ["Cost", money(measured("cost", total)), difference === null || !before ? "in this range" : `${before.cost_nano_usd ? `${changeText(difference / before.cost_nano_usd)} from ` : "from "}${moneyNano(before.cost_nano_usd)}`],
        ["Requests", short(total.requests), before ? `${before.requests ? `${changeText(total.requests / before.requests - 1)} from ` : "from "}${short(before.requests)}` : ""],
        ["Per request", money(perRequest), before ? `before ${money(measured("cost_per_request", before))}` : ""],
        ["Tokens", short(total.input_tokens + total.output_tokens), `${short(total.input_tokens)} in, ${short(total.output_tokens)} out`],
        ["Saved by caches", total.saving_nano_usd === null ? "–" : moneyNano(total.saving_nano_usd), total.saving_nano_usd === null ? "told by model and key only" : `${short(total.cached_input_tokens)} tokens, at list prices`],
        ["Without a price", total.unpriced ? <Link key="unpriced" className="warn" href={pageOf.requests(unpricedQ, range)}>{short(total.unpriced)}</Link> : "0", total.unpriced ? <Link className="link" href="/settings/prices">set a price</Link> : "all have one"],
        ["This month", projected === null || projected === undefined ? "–" : moneyNano(projected), forecast.data ? <span title={`${forecast.data.method} (UTC)`}>{moneyNano(forecast.data.spent_nano_usd)} so far; the rest as in the last 7 days</span> : ""],
      ]}
    />
  );
}

function Chart({ range, stack, q, measure, onRange }: { range: { from: string; to: string }; stack: string; q: string; measure: Measure; onRange(range: { from: string; to: string }): void }) {
  const { from, to } = resolve(range, serverNow());
  const step = to - from <= 4 * 86_400_000 ? "hour" : "day";
  const answer = useRead<CostSeries>("/api/cost/series", { by: stack === "none" ? "" : stack, ...range, q, step, top: 6 }, { every: 60_000 });
  const isRatio = measure === "cost_per_request";
  const shown: Measure = measure === "cache_saving" ? "cost" : measure;
  return (
    <Card className="cost-chart" title={`${MEASURE_NAMES[shown]} by ${stack === "none" ? "time" : (GROUPING_NAMES[stack] ?? stack).toLowerCase()}`} end={`by ${answer.data?.step ?? step}, UTC${range.to === "now" ? "; the last one is still filling" : ""}`}>
      <Loaded answer={answer} what="The chart could not be read" skeleton={<Skeleton height="240px" />}>
        {(data) => (
          <Suspense fallback={<Skeleton height="240px" />}>
            <Lines data={data} measure={shown} isRatio={isRatio} isFilling={range.to === "now"} onRange={onRange} />
          </Suspense>
        )}
      </Loaded>
      {measure === "cache_saving" && <p className="caption">What caches saved is told for the whole range, in the table; the chart shows cost.</p>}
    </Card>
  );
}

function Lines({ data, measure, isRatio, isFilling, onRange }: { data: CostSeries; measure: Measure; isRatio: boolean; isFilling: boolean; onRange(range: { from: string; to: string }): void }) {
  const series = useMemo(() => chartLines(isRatio ? data.series.filter((line) => !line.is_others) : data.series, measure), [data, measure, isRatio]);
  if (!series.length) return <p className="muted">Nothing in this range.</p>;
  const names = series.map((line) => `${line.name} ${line.total ?? ""}`).join(", ");
  return (
    <TimeChart
      summary={`${MEASURE_NAMES[measure]} by ${data.step}: ${names}`}
      times={data.starts}
      series={series}
      kind={isRatio ? "line" : "bars"}
      isStacked={!isRatio}
      isFilling={isFilling}
      hasLegend
      height={220}
      format={measure === "requests" || measure === "tokens" ? short : axisMoney}
      onRange={(start, end) => onRange({ from: String(start), to: String(end) })}
    />
  );
}

