import { moneyNano, change as changeText } from "../../lib/format.ts";
import { useRead } from "../../lib/queries.ts";
import { Card } from "../../ui/Card.tsx";
import { Loaded, Skeleton } from "../../ui/States.tsx";
import { contributorText, EFFECT_NAMES, GROUPING_NAMES, type Change, type Effects } from "./costs.ts";

/** What changed and why: three contributors, and the four effects that add up to the difference. */
export default function WhatChanged({ by, range }: { by: string; range: { from: string; to: string } }) {
  const answer = useRead<Change>("/api/cost/change", { by, ...range }, { every: 60_000 });
  return (
    <Card className="what-changed" title="What changed and why" end={`against the period before, by ${(GROUPING_NAMES[by] ?? by).toLowerCase()}`}>
      <Loaded answer={answer} what="Why it changed could not be told" skeleton={<Skeleton height="110px" />}>
        {({ change }) => <Explanation change={change} />}
      </Loaded>
    </Card>
  );
}

function Explanation({ change }: { change: Change["change"] }) {
  const difference = change.after_nano_usd - change.before_nano_usd;
  if (change.before_nano_usd === 0) return <p className="muted">Nothing was spent in the period before.</p>;
  const most = Math.max(1, ...change.contributors.map((each) => Math.abs(each.nano_usd)), Math.abs(change.others_nano_usd));
  return (
    <div className="cost-changes">
      <p className="cost-changes-say">
        <b className="num">{signed(difference)}</b> <span className="muted num">{changeText(difference / change.before_nano_usd)}: {moneyNano(change.before_nano_usd)} became {moneyNano(change.after_nano_usd)}.</span>
      </p>
      <ol className="cost-contributors" aria-label="The largest contributors">
        {change.contributors.map((each) => (
          <li key={`${each.effect}/${each.name ?? ""}`}>
            <span className="wire">{contributorText(each)}</span>
            <meter className="change-bar" min={0} max={most} value={Math.abs(each.nano_usd)} aria-hidden="true" />
            <b className="num">{signed(each.nano_usd)}</b>
          </li>
        ))}
        {change.others_nano_usd !== 0 && (
          <li className="muted">
            <span>All else</span>
            <meter className="change-bar" min={0} max={most} value={Math.abs(change.others_nano_usd)} aria-hidden="true" />
            <b className="num">{signed(change.others_nano_usd)}</b>
          </li>
        )}
      </ol>
      <dl className="cost-effects" aria-label="Effects, which add up to the difference">
        {(Object.keys(EFFECT_NAMES) as (keyof Effects)[]).map((effect) => (
          <div key={effect}>
            <dt>{EFFECT_NAMES[effect]}</dt>
            <dd className="num">{signed(change.effects[effect])}</dd>
          </div>
        ))}
        <div>
          <dt>Together</dt>
          <dd className="num"><b>{signed(difference)}</b></dd>
        </div>
      </dl>
    </div>
  );
}

function signed(nano: number): string {
  return nano > 0 ? `+${moneyNano(nano)}` : moneyNano(nano);
}
