import { useRead } from "../../lib/queries.ts";
import { duration, count, moneyNano } from "../../lib/format.ts";
import { segment } from "../../lib/path.ts";
import { Time } from "../../ui/Time.tsx";
import { Loaded } from "../../ui/States.tsx";
import type { RequestRow } from "./rows.ts";

export default function PeekFacts({ id }: { id: string }) {
  const answer = useRead<RequestRow>(`/api/requests/${segment(id)}`, {}, { fresh: true });
  return (
    <Loaded answer={answer}>
      {(row) => (
        <dl className="pairs">
          <dt>Started</dt><dd><Time ms={row.started_at} precision="ms" withRelative /></dd>
          <dt>Model</dt><dd className="wire">{row.model ?? row.model_requested}</dd>
          <dt>Latency</dt><dd>{duration(row.duration_ms)}</dd>
          <dt>Tokens</dt><dd>{count(row.input_tokens)} → {count(row.output_tokens)}</dd>
          <dt>Cost</dt><dd>{moneyNano(row.cost_nano_usd)}</dd>
        </dl>
      )}
    </Loaded>
  );
}
