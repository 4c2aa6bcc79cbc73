/** Is everything OK right now: the answer first, in a sentence; below it what it is told from. */
import { lazy, Suspense } from "react";
import { Link } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { useRead } from "../../lib/queries.ts";
import { Section } from "../../ui/Card.tsx";
import { Loaded, Skeleton } from "../../ui/States.tsx";
import { Time } from "../../ui/Time.tsx";
import { BudgetsCard } from "./BudgetsCard.tsx";
import { Deployed, SystemStrip } from "./Deployed.tsx";
import type { Observed } from "./status.ts";
import { Tiles, Verdict } from "./Verdict.tsx";
import "./overview.css";

const Quality = lazy(() => import("./Quality.tsx"));
const CostAndVolume = lazy(() => import("./CostAndVolume.tsx"));
const FirstRun = lazy(() => import("./FirstRun.tsx"));

export default function OverviewPage() {
  const status = useRead<Observed>("/api/status", {}, { every: 15_000 });
  const isFirstRun = status.data?.tiles[0]?.state === "none";
  return (
    <>
      <PageHead title="Overview" tools={status.data && !isFirstRun && <span className="caption nowrap hide-s">Looked at <Time ms={status.data.looked_at} isRelative /></span>} />
      <Loaded answer={status} what="The verdict could not be read" skeleton={<Opening />}>
        {(observed) => (
          <>
            <Verdict observed={observed} />
            {!isFirstRun && <Tiles tiles={observed.tiles} />}
          </>
        )}
      </Loaded>
      {isFirstRun && (
        <Suspense fallback={<Skeleton height="320px" />}>
          <FirstRun />
        </Suspense>
      )}
      {status.data && !isFirstRun && <Rest />}
    </>
  );
}

/** Room for verdict and tiles. */
function Opening() {
  return (
    <>
      <Skeleton height="48px" />
      <div className="grid c3 overview-opening">
        {[0, 1, 2].map((at) => <Skeleton key={at} height="158px" />)}
      </div>
    </>
  );
}

function Rest() {
  return (
    <>
      <Suspense fallback={<Skeleton height="180px" />}>
        <Quality />
      </Suspense>
      <Section title="Cost and volume" note="24 hours; the last bar is still filling" end={<Link className="link" href="/cost?from=now-24h">Cost explorer</Link>} />
      <div className="grid c21">
        <Suspense fallback={<Skeleton height="320px" />}>
          <CostAndVolume />
        </Suspense>
        <BudgetsCard />
      </div>
      <Deployed />
      <SystemStrip />
    </>
  );
}
