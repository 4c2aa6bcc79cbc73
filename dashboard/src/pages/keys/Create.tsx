import { useState } from "react";
import { boot } from "../../lib/boot.ts";
import { send } from "../../lib/api.ts";
import { forget } from "../../lib/queries.ts";
import { Button } from "../../ui/Button.tsx";
import { CopyButton } from "../../ui/CopyButton.tsx";
import { Dialog } from "../../ui/Dialog.tsx";
import { Segments } from "../../ui/Fields.tsx";
import { ErrorState } from "../../ui/States.tsx";
import { KEY_FORM, KeyForm } from "./Form.tsx";
import { changedOf, draftOf, EMPTY, policyOf, problemsOf, snippets, type Key, type KeyDraft, type NewKey } from "./model.ts";
import { Trying } from "./Trying.tsx";

type How = "curl" | "python" | "env";

/** Make a key; its secret is shown here and nowhere else. */
export default function Create({ upstreams, models, onClose, onMade }: { upstreams: readonly string[]; models: readonly string[]; onClose(): void; onMade(name: string): void }) {
  const [draft, setDraft] = useState<KeyDraft>(EMPTY);
  const [made, setMade] = useState<NewKey | null>(null);
  const { error, isBusy, submit } = useSubmit(async () => {
    const key = await send<NewKey>("POST", "/api/keys", { name: draft.name, ...policyOf(draft) });
    await forget("/api/keys");
    setMade(key);
  });
  if (made) return <ShownOnce made={made} models={models} onClose={() => onMade(made.name)} />;
  const problems = problemsOf(draft);
  return (
    <Dialog
      title="New key"
      width={640}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" form={KEY_FORM} disabled={isBusy || Object.keys(problems).length > 0}>Create the key</Button>
        </>
      }
    >
      <KeyForm draft={draft} problems={problems} upstreams={upstreams} isNew onChange={setDraft} onSubmit={submit} />
      {error !== null && <ErrorState error={error} what="The key was not made" />}
    </Dialog>
  );
}

/** Give a key other limits. */
export function Change({ stored, upstreams, onClose }: { stored: Key; upstreams: readonly string[]; onClose(): void }) {
  const [draft, setDraft] = useState<KeyDraft>(() => draftOf(stored));
  const { error, isBusy, submit } = useSubmit(async () => {
    await send("PATCH", `/api/keys/${stored.name}`, changedOf(stored, draft));
    await forget("/api/keys", "/api/budgets");
    onClose();
  });
  const problems = problemsOf(draft);
  return (
    <Dialog
      title={`Limits of ${stored.name}`}
      width={640}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" disabled={isBusy || Object.keys(problems).length > 0 || Object.keys(changedOf(stored, draft)).length === 0} type="submit" form={KEY_FORM}>Save the limits</Button>
        </>
      }
    >
      <KeyForm draft={draft} problems={problems} upstreams={upstreams} isNew={false} onChange={setDraft} onSubmit={submit} />
      {error !== null && <ErrorState error={error} what="The limits were not changed" />}
    </Dialog>
  );
}

function ShownOnce({ made, models, onClose }: { made: NewKey; models: readonly string[]; onClose(): void }) {
  const [how, setHow] = useState<How>("curl");
  const model = made.models.find((name) => !/[*?[]/.test(name)) ?? models.find((name) => !made.models.length || made.models.some((glob) => matches(glob, name))) ?? "gpt-4o-mini";
  const code = snippets(boot.gateway, made.key, model)[how];
  return (
    <Dialog title={`${made.name} is made`} width={640} isAlert onClose={onClose} foot={<Button kind="primary" onClick={onClose}>I have copied it</Button>}>
      <div className="ky-shown-once">
        <p>This is the only time that the key is shown. Glassline keeps a digest of it, and nothing to show it again by.</p>
        <div className="ky-secret">
          <code className="wire">{made.key}</code>
          <CopyButton text={made.key} label="Copy the key" />
        </div>
        <div className="ky-how">
          <Segments<How> label="How to use it" value={how} options={[["curl", "curl"], ["python", "Python"], ["env", "Environment"]]} onChange={setHow} />
          <CopyButton text={code} isIcon label="Copy the example" />
        </div>
        <pre className="code" tabIndex={0} role="group" aria-label="How to use it">{code}</pre>
        <Trying name={made.name} standard={model} models={models} />
      </div>
    </Dialog>
  );
}

function matches(glob: string, name: string): boolean {
  const pattern = glob.replace(/[.+^${}()|\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".");
  return new RegExp(`^${pattern}$`, "i").test(name);
}

/** Send a form once at a time, and keep what went wrong. */
function useSubmit(act: () => Promise<void>) {
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const submit = () => {
    setBusy(true);
    setError(null);
    act()
      .catch(setError)
      .finally(() => setBusy(false));
  };
  return { error, isBusy, submit };
}
