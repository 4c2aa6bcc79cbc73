import { Button } from "../../ui/Button.tsx";
import { Checkbox, Select, TextField } from "../../ui/Fields.tsx";
import { EMPTY_BUDGET, WINDOWS, type BudgetDraft, type KeyDraft } from "./model.ts";

/** Names the form to the button at the foot of its dialog. */
export const KEY_FORM = "key-form";

/** What a key may do. */
export function KeyForm({ draft, problems, upstreams, isNew, onChange, onSubmit }: { draft: KeyDraft; problems: Readonly<Record<string, string>>; upstreams: readonly string[]; isNew: boolean; onChange(draft: KeyDraft): void; onSubmit(): void }) {
  const set = (patch: Partial<KeyDraft>) => onChange({ ...draft, ...patch });
  const setBudget = (at: number, patch: Partial<BudgetDraft>) => set({ budgets: draft.budgets.map((budget, index) => (index === at ? { ...budget, ...patch } : budget)) });
  return (
    <form
      className="ky-key-form"
      id={KEY_FORM}
      onSubmit={(event) => {
        event.preventDefault();
        onSubmit();
      }}
    >
      {isNew && <TextField label="Name" value={draft.name} onText={(name) => set({ name })} problem={draft.name ? (problems.name ?? null) : null} help="Shown in records, costs and metrics" autoFocus maxLength={64} autoComplete="off" />}
      <fieldset>
        <legend>Budgets</legend>
        {draft.budgets.map((budget, at) => (
          <div className="ky-budget" key={at}>
            <TextField label="US dollars" inputMode="decimal" value={budget.limit} onText={(limit) => setBudget(at, { limit })} problem={problems[`limit-${at}`] ?? null} />
            <Select label="Window" value={budget.window} onChange={(window) => setBudget(at, { window })} options={WINDOWS.some(([name]) => name === budget.window) ? WINDOWS : [...WINDOWS, [budget.window, `in any ${budget.window}`]]} />
            <TextField label="Models" value={budget.models} placeholder="all" onText={(models) => setBudget(at, { models })} />
            <Button size="small" kind="ghost" icon="trash" aria-label={`Remove budget ${at + 1}`} onClick={() => set({ budgets: draft.budgets.filter((_, index) => index !== at) })} />
            <div className="ky-switches">
              <Checkbox label="Refuse what would pass it" isChecked={budget.isHard} onChange={(isHard) => setBudget(at, { isHard })} />
              <Checkbox label="Let through what nobody can price beforehand" isChecked={budget.allowsUnbounded} onChange={(allowsUnbounded) => setBudget(at, { allowsUnbounded })} />
            </div>
          </div>
        ))}
        {draft.budgets.length === 0 && <p className="caption">No budget: this key may spend without a limit.</p>}
        <Button size="small" icon="plus" onClick={() => set({ budgets: [...draft.budgets, EMPTY_BUDGET] })}>Add a budget</Button>
      </fieldset>
      <TextField label="Models" value={draft.models} placeholder="all" onText={(models) => set({ models })} help="Names or patterns, such as gpt-5*, claude-*" autoComplete="off" spellCheck={false} />
      {upstreams.length > 0 && (
        <fieldset>
          <legend>Upstreams</legend>
          <div className="ky-choices">
            {upstreams.map((name) => (
              <Checkbox key={name} label={name} isChecked={draft.upstreams.includes(name)} onChange={(isOn) => set({ upstreams: isOn ? [...draft.upstreams, name] : draft.upstreams.filter((each) => each !== name) })} />
            ))}
          </div>
          <p className="caption">{draft.upstreams.length ? `Only ${draft.upstreams.join(", ")}.` : "None chosen: every upstream."}</p>
        </fieldset>
      )}
      <fieldset className="ky-rates">
        <legend>Rate limits</legend>
        <TextField label="Requests a minute" inputMode="numeric" placeholder="no limit" value={draft.requestsPerMinute} onText={(requestsPerMinute) => set({ requestsPerMinute })} problem={problems.rpm ?? null} />
        <TextField label="Tokens a minute" inputMode="numeric" placeholder="no limit" value={draft.tokensPerMinute} onText={(tokensPerMinute) => set({ tokensPerMinute })} problem={problems.tpm ?? null} />
        <TextField label="At a time" inputMode="numeric" placeholder="no limit" value={draft.concurrent} onText={(concurrent) => set({ concurrent })} problem={problems.concurrent ?? null} />
      </fieldset>
      <TextField label="Tags" value={draft.tags} placeholder="team=search, env=prod" onText={(tags) => set({ tags })} problem={problems.tags ?? null} help="On every record of this key" autoComplete="off" spellCheck={false} />
      <Checkbox label="Believe the user that its callers name" isChecked={draft.trustsIdentity} onChange={(trustsIdentity) => set({ trustsIdentity })} />
    </form>
  );
}
