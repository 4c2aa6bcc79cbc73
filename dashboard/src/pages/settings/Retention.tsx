import { useState } from "react";
import { bytes, count, percent, plural } from "../../lib/format.ts";
import { useRead } from "../../lib/queries.ts";
import { text, useUrlState } from "../../lib/url.ts";
import { Card, Facts } from "../../ui/Card.tsx";
import { TextField } from "../../ui/Fields.tsx";
import { Loaded } from "../../ui/States.tsx";
import { Time } from "../../ui/Time.tsx";
import { isLength, lengthText, lengthWords, shareOf, type Retention as Kept } from "./model.ts";
import { Yaml } from "./parts.tsx";

const STATE = { bodies: text("", "replace"), records: text("", "replace") } as const;
const KEPT = { all: "the bodies of all requests", errors: "the bodies of errors only", none: "no body" } as const;

/** How long is kept what, and what another retention would delete. */
export function Retention() {
  const [{ bodies, records }, setState] = useUrlState(STATE);
  const asked = { bodies: isLength(bodies) ? bodies : null, records: isLength(records) ? records : null };
  const answer = useRead<Kept>("/api/retention", asked, { every: 60_000 });
  return (
    <Loaded answer={answer} what="What is kept could not be read">
      {(found) => (
        <div className="settings-stack">
          <Facts
            facts={[
              ["Bodies are kept", lengthWords(found.policy.bodies_s)],
              ["Records are kept", lengthWords(found.policy.records_s)],
              ["At most", `${count(found.policy.max_size_gb)} GB`],
              ["There are about", count(found.kept.records), "records"],
              ["They take", bytes(found.database_bytes)],
              ["The oldest is from", found.kept.oldest_ms ? <Time key="o" ms={found.kept.oldest_ms} precision="min" /> : "–"],
            ]}
          />
          <Card title="What is recorded" end={found.record.sample.rate < 1 ? `sampled: ${percent(found.record.sample.rate)}` : undefined}>
            <p>Of every exchange its facts are kept, and {KEPT[found.record.bodies as keyof typeof KEPT] ?? found.record.bodies}, up to {found.record.max_body_mb} MB each. {found.record.when_full === "block" ? "When the disk is full, requests are refused instead of passing unrecorded." : `When the disk is full: ${found.record.when_full.replaceAll("_", " ")}.`}</p>
          </Card>
          <Card title="Try another retention">
            <div className="settings-bar">
              <Length label="Keep bodies for" standard={lengthText(found.policy.bodies_s)} value={bodies} onValue={(value) => setState({ bodies: value })} />
              <Length label="Keep records for" standard={lengthText(found.policy.records_s)} value={records} onValue={(value) => setState({ records: value })} />
            </div>
            <Outcome found={found} bodies={asked.bodies} records={asked.records} />
          </Card>
        </div>
      )}
    </Loaded>
  );
}

function Length({ label, standard, value, onValue }: { label: string; standard: string; value: string; onValue(value: string): void }) {
  const [typed, setTyped] = useState(value);
  return (
    <TextField
      label={label}
      value={typed}
      placeholder={standard}
      problem={typed && !isLength(typed) ? "Such as 14d or 12h" : null}
      help={`now ${standard}`}
      onText={(written) => {
        setTyped(written);
        if (!written || isLength(written)) onValue(written.trim());
      }}
    />
  );
}

function Outcome({ found, bodies, records }: { found: Kept; bodies: string | null; records: string | null }) {
  const gone = found.would_delete;
  if (!gone) return <p className="caption">Say how long, and see what would go. Nothing is deleted here.</p>;
  const freed = shareOf(found.database_bytes, gone.payload_bytes, gone.all_payload_bytes);
  const policy = [bodies && `  bodies: ${bodies}`, records && `  records: ${records}`].filter(Boolean);
  return (
    <>
      <p role="status">
        {gone.records === 0 && gone.bodies === 0
          ? "Nothing that is kept now would go."
          : `${gone.records ? `About ${plural(gone.records, "record")} and the` : "The"} bodies of about ${plural(gone.bodies, "request")} would go at once${freed ? `, up to ${bytes(freed)} of ${bytes(found.database_bytes)}` : ""}. Sums of costs and counts stay.`}
      </p>
      <Yaml text={`retention:\n${policy.join("\n")}`} />
    </>
  );
}
