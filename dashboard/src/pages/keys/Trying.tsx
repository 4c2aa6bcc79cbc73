import { useState } from "react";
import { Link } from "wouter";
import { send } from "../../lib/api.ts";
import { pageOf } from "../../lib/path.ts";
import { forget } from "../../lib/queries.ts";
import { Button } from "../../ui/Button.tsx";
import { ComboBox } from "../../ui/ComboBox.tsx";
import { ErrorState } from "../../ui/States.tsx";
import { StatusPill } from "../../ui/Status.tsx";
import type { Trial } from "./model.ts";

/** Send a small request with a key, to see it work or refuse. */
export function Trying({ name, standard, models }: { name: string; standard: string; models: readonly string[] }) {
  const [model, setModel] = useState(standard);
  const [trial, setTrial] = useState<Trial | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const test = () => {
    setBusy(true);
    setError(null);
    send<Trial>("POST", `/api/keys/${name}/test`, { model })
      .then((found) => {
        setTrial(found);
        void forget("/api/keys");
      }, setError)
      .finally(() => setBusy(false));
  };
  return (
    <div className="ky-trying">
      <div className="ky-ask">
        <ComboBox label="Try it with a model" value={model} onChange={setModel} options={models.map((value) => ({ value }))} />
        <Button disabled={isBusy || !model} onClick={test}>{isBusy ? "Asking…" : "Send a small request"}</Button>
      </div>
      <div role="status">{trial && <Outcome trial={trial} />}</div>
      {error !== null && <ErrorState error={error} what="It could not be tried" />}
      {!trial && error === null && <p className="caption">One word is asked for. Its cost counts for this key, and the request is recorded.</p>}
    </div>
  );
}

function Outcome({ trial }: { trial: Trial }) {
  const isFine = trial.status < 400;
  const word = isFine ? "Works" : trial.status >= 500 ? "Failed" : trial.error_code ? "Refused" : "The provider refused";
  return (
    <div className="ky-outcome">
      <StatusPill level={isFine ? "ok" : trial.error_code ? "warn" : "bad"}>{`${word}: ${trial.status}${trial.error_code ? ` ${trial.error_code}` : ""}`}</StatusPill>
      <p className="wire">{isFine ? trial.text || "An answer without words." : trial.message}</p>
      {trial.id && <Link className="link" href={pageOf.request(trial.id)}>Open the request</Link>}
    </div>
  );
}
