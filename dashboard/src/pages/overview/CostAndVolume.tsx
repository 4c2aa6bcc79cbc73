import { useMemo } from "react";
import { Link } from "wouter";
import { moneyNano, plural, short } from "../../lib/format.ts";
import { useRead } from "../../lib/queries.ts";
import { Card } from "../../ui/Card.tsx";
import { Loaded, Skeleton } from "../../ui/States.tsx";
import { TimeChart } from "../../ui/TimeChart.tsx";
import { axisMoney, chartLines, sumOf, type CostSeries } from "../cost/costs.ts";

const NANO = 1e9;
const AXIS = 46;

/** What was spent in each hour, by model, and how much was asked. */
export default function CostAndVolume() {
  const answer = useRead<CostSeries>("/api/cost/series", { by: "model", from: "now-24h", step: "hour", top: 4 }, { every: 15_000 });
  return (
    <Card className="cost-volume">
      <Loaded answer={answer} what="Cost could not be read" skeleton={<Skeleton height="290px" />}>
        {(data) => <Charts data={data} />}
      </Loaded>
    </Card>
  );
}

function Charts({ data }: { data: CostSeries }) {
  const { starts, series, pace_nano_usd: pace } = data;
  const lines = useMemo(() => chartLines(series, "cost"), [series]);
  const requests = useMemo(() => starts.map((_, at) => series.reduce((sum, line) => sum + (line.requests[at] ?? 0), 0)), [starts, series]);
  const volume = useMemo(() => [{ name: "Requests", values: requests, colour: "s5" }], [requests]);
  const whole = sumOf(series, "cost_nano_usd");
  const all = requests.reduce((sum, number) => sum + number, 0);
  const tokens = sumOf(series, "tokens");
  const unpriced = sumOf(series, "unpriced");
  const most = Math.max(0, ...starts.map((_, at) => series.reduce((sum, line) => sum + (line.cost_nano_usd[at] ?? 0), 0)));
  // A line far above the bars would leave nothing of them to be seen.
  const isPaceShown = pace !== null && pace < 3 * most;
  return (
    <>
      <p className="headline">
        <b>Cost by model</b> <span className="caption">per hour</span>
        <span className="sum">{moneyNano(whole)}</span>
        <span className="caption">{pace === null ? "in 24 hours" : `of ${moneyNano(24 * pace)} a day at the pace of the budget`}</span>
      </p>
      <TimeChart
        summary={`Cost of the last 24 hours: ${moneyNano(whole)}, by model, hour by hour`}
        times={starts}
        series={lines}
        kind="bars"
        isStacked
        isFilling
        hasLegend
        height={176}
        axisWidth={AXIS}
        format={axisMoney}
        {...(isPaceShown ? { threshold: { value: pace / NANO, label: `budget pace ${moneyNano(pace)} an hour` } } : {})}
      />
      {unpriced > 0 && (
        <p className="caption"><Link className="link" href="/requests?q=unpriced:true&from=now-24h">{plural(unpriced, "request")} without a price</Link> not counted.</p>
      )}
      <p className="caption volume num">Requests per hour: {short(all)} in 24 hours, {short(tokens)} tokens</p>
      <TimeChart summary={`Requests per hour: ${all} in 24 hours`} times={starts} series={volume} kind="bars" isFilling hasLegend={false} height={88} axisWidth={AXIS} format={short} />
    </>
  );
}
