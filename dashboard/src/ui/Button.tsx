import { useRef, type ButtonHTMLAttributes, type ReactNode, type Ref } from "react";
import { Icon, type IconName } from "./Icon.tsx";
import { Tooltip } from "./Tooltip.tsx";

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: "normal" | "primary" | "ghost" | "danger";
  size?: "normal" | "small";
  icon?: IconName;
  /** Opens something below it. */
  hasCaret?: boolean;
  ref?: Ref<HTMLButtonElement>;
}

/** A button with a word on it. */
export function Button({ kind = "normal", size = "normal", icon, hasCaret, className = "", children, type = "button", ...rest }: ButtonProps) {
  const classes = ["btn", kind === "normal" ? "" : kind, size === "small" ? "small" : "", className].filter(Boolean).join(" ");
  return (
    <button type={type} className={classes} {...rest}>
      {icon && <Icon name={icon} />}
      {children}
      {hasCaret && <Icon name="down" className="caret" />}
    </button>
  );
}

/** A button that is only a sign: its label is read aloud and shown on hover. */
export function IconButton({ label, icon, keys, ...rest }: Omit<ButtonProps, "children" | "icon"> & { label: string; icon: IconName; keys?: string }) {
  const own = useRef<HTMLButtonElement>(null);
  return (
    <Tooltip text={label} {...(keys ? { keys } : {})}>
      <Button kind="ghost" aria-label={label} {...rest} className={`square ${rest.className ?? ""}`} ref={rest.ref ?? own}>
        <Icon name={icon} />
      </Button>
    </Tooltip>
  );
}

/** What a key does, as keys look. */
export function Kbd({ children }: { children: ReactNode }) {
  return <kbd>{children}</kbd>;
}
