import { Link } from "wouter";
import { percent, plural, points, short } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { Card, Section } from "../../ui/Card.tsx";
import { Loaded, Skeleton } from "../../ui/States.tsx";
import { TimeChart } from "../../ui/TimeChart.tsx";

interface Measure {
  name: string;
  label: string;
  share: number | null;
  before: number | null;
  counted: number;
  of: number;
  starts: number[];
  days: (number | null)[];
  days_before: (number | null)[];
  parts: [string, number][];
  q: string;
}

interface Answer {
  read: number;
  of: number;
  from: number;
  to: number;
  measures: Measure[];
}

const COLOURS: Record<string, string> = { refusals: "s4", cut: "s2", retries: "s1" };

/** How answers ended, by what they say themselves. */
export default function Quality() {
  const answer = useRead<Answer>("/api/quality", {}, { every: 300_000 });
  const data = answer.data;
  const isSampled = data !== undefined && data.read < 0.98 * data.of;
  return (
    <>
      <Section
        title="Quality"
        note={`7 days; dotted is the week before${isSampled ? `; told from ${short(data.read)} of ${short(data.of)} requests` : ""}`}
        end="what answers say of themselves; ratings and evals are not recorded in this version"
      />
      <Loaded answer={answer} what="Quality could not be read" skeleton={<div className="grid c3">{[0, 1, 2].map((at) => <Skeleton key={at} height="150px" />)}</div>}>
        {({ measures, from, to }) => (
          <div className="grid c3">{measures.map((measure) => <MeasureCard key={measure.name} measure={measure} from={from} to={to} />)}</div>
        )}
      </Loaded>
    </>
  );
}

function MeasureCard({ measure, from, to }: { measure: Measure; from: number; to: number }) {
  const { label, share, before, counted, of, parts } = measure;
  const told = `${short(counted)} of ${plural(of, "request")}`;
  const colour = COLOURS[measure.name] ?? "s5";
  return (
    <Card className="quality" level="h3" title={<Link href={pageOf.requests(measure.q, { from, to })}>{label}</Link>} end={<><span className="share">{percent(share, of)}</span> {share !== null && before !== null && points(share - before)}</>}>
      {of === 0 || (counted === 0 && !before) ? (
        <p className="muted">{of === 0 ? "Nothing to count in the last 7 days." : `None of ${plural(of, "request")}, nor in the week before.`}</p>
      ) : (
        <>
          <TimeChart
            summary={`${label}: ${percent(share, of)} in the last 7 days, ${percent(before)} in the week before`}
            times={measure.starts}
            series={[
              { name: "the week before", values: measure.days_before, colour, isBefore: true },
              { name: label, values: measure.days, colour },
            ]}
            height={104}
            format={(value) => percent(value, 1)}
            hasLegend={false}
          />
          <p className="caption num">{told}{parts.length > 0 && `: ${parts.map(([name, number]) => `${short(number)} ${name}`).join(", ")}`}</p>
        </>
      )}
    </Card>
  );
}
