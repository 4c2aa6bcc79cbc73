/** Fields of forms: a label, what is wrong or what helps, and the control. */
import { useId, type InputHTMLAttributes, type ReactNode, type TextareaHTMLAttributes } from "react";

interface About {
  label: string;
  help?: ReactNode;
  /** What is wrong with the value; it is read aloud with the field. */
  problem?: string | null;
}

function Frame({ id, label, help, problem, children }: About & { id: string; children: ReactNode }) {
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children}
      {problem ? <span className="problem" id={`${id}-about`}>{problem}</span> : help && <span className="help" id={`${id}-about`}>{help}</span>}
    </div>
  );
}

export function TextField({ label, help, problem, onText, ...rest }: About & { onText?(text: string): void } & InputHTMLAttributes<HTMLInputElement>) {
  const id = useId();
  const about = problem || help ? `${id}-about` : undefined;
  return (
    <Frame {...{ id, label, help, problem }}>
      <input className="input" id={id} aria-invalid={Boolean(problem)} aria-describedby={about} onChange={(event) => onText?.(event.target.value)} {...rest} />
    </Frame>
  );
}

export function TextArea({ label, help, problem, onText, ...rest }: About & { onText?(text: string): void } & TextareaHTMLAttributes<HTMLTextAreaElement>) {
  const id = useId();
  const about = problem || help ? `${id}-about` : undefined;
  return (
    <Frame {...{ id, label, help, problem }}>
      <textarea className="input" id={id} aria-invalid={Boolean(problem)} aria-describedby={about} onChange={(event) => onText?.(event.target.value)} {...rest} />
    </Frame>
  );
}

export function Checkbox({ label, isChecked, onChange, isDisabled }: { label: ReactNode; isChecked: boolean; onChange(isChecked: boolean): void; isDisabled?: boolean }) {
  return (
    <label className="check">
      <input type="checkbox" checked={isChecked} disabled={isDisabled} onChange={(event) => onChange(event.target.checked)} />
      {label}
    </label>
  );
}

/** One of a few, all visible. */
export function Segments<Name extends string>({ label, options, value, onChange }: { label: string; options: readonly (readonly [Name, ReactNode])[]; value: Name; onChange(value: Name): void }) {
  const name = useId();
  return (
    <div className="segments" role="radiogroup" aria-label={label}>
      {options.map(([option, title]) => (
        <label key={option}>
          <input type="radio" name={name} checked={option === value} onChange={() => onChange(option)} />
          {title}
        </label>
      ))}
    </div>
  );
}

/** One of some, in the browser's own list: works everywhere, on phones too. */
export function Select<Name extends string>({ label, options, value, onChange, isLabelHidden }: { label: string; options: readonly (readonly [Name, string])[]; value: Name; onChange(value: Name): void; isLabelHidden?: boolean }) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id} className={isLabelHidden ? "sr" : ""}>{label}</label>
      <select id={id} className="input" value={value} onChange={(event) => onChange(event.target.value as Name)}>
        {options.map(([option, title]) => (
          <option key={option} value={option}>{title}</option>
        ))}
      </select>
    </div>
  );
}
