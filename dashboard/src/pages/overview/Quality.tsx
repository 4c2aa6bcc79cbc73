import { Link } from "wouter";
import { percent, plural, points, short } from "../../lib/format.ts";
import { address, pageOf } from "../../lib/path.ts";
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

const COLOURS: Record<string, string> = { refusals: "s4", cut: "s2", retries: "s1", feedback: "s3" };

/** How answers ended, by what they say themselves, and what was said of them. */
export default function Quality() {
  const answer = useRead<Answer>("/api/quality", {}, { every: 300_000 });
  const data = answer.data;
  const isSampled = data !== undefined && data.read < 0.98 * data.of;
  return (
    <>
      <Section
        title="Quality"
        note={`7 days; dotted is the week before${isSampled ? `; told from ${short(data.read)} of ${short(data.of)} requests` : ""}`}
        end="what answers say of themselves, and what is said of them"
      />
      <Loaded answer={answer} what="Quality could not be read" skeleton={<div className="grid c4">{[0, 1, 2, 3].map((at) => <Skeleton key={at} height="150px" />)}</div>}>
        {({ measures, from, to }) => (
          <div className="grid c4">{measures.map((measure) => <MeasureCard key={measure.name} measure={measure} from={from} to={to} />)}</div>
        )}
      </Loaded>
    </>
  );
}

function MeasureCard({ measure, from, to }: { measure: Measure; from: number; to: number }) {
  const { label, share, before, counted, of, parts } = measure;
  const isFeedback = measure.name === "feedback";
  const counts = plural(of, isFeedback ? "rating" : "request");
  const told = `${short(counted)} of ${counts}`;
  const colour = COLOURS[measure.name] ?? "s5";
  return (
    <Card className="quality" level="h3" title={<Link href={pageOf.requests(measure.q, { from, to })}>{label}</Link>} end={<><span className="share">{percent(share, of)}</span> {share !== null && before !== null && points(share - before)}</>}>
      {isFeedback && of === 0 && before === null ? (
        <HowToSend />
      ) : of === 0 || (counted === 0 && !before && !isFeedback) ? (
        <p className="muted">{of === 0 ? "Nothing to count in the last 7 days." : `None of ${counts}, nor in the week before.`}</p>
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
          <p className="caption num">{told}{isFeedback ? <>: <Link className="link" href={pageOf.requests("feedback:negative", { from, to })}>{short(parts.find(([name]) => name === "negative")?.[1])} negative</Link></> : parts.length > 0 && `: ${parts.map(([name, number]) => `${short(number)} ${name}`).join(", ")}`}</p>
        </>
      )}
    </Card>
  );
}

/** Nobody has said anything yet: how it is done. */
function HowToSend() {
  return (
    <p className="muted">
      None in these two weeks. Applications send it with <code>POST /api/feedback</code>, a request's id and a value from 0 to 1 (<a className="link" href={address("/api/openapi.json")}>the API</a>); people press a thumb on a request's page.
    </p>
  );
}
