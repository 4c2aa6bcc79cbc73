import { Icon } from "../../ui/Icon.tsx";
import { Prose } from "./Prose.tsx";

/** A line that says what is missing, or what is to be noticed. */
export function Notice({ children, level = "none" }: { children: string; level?: "none" | "warn" | "bad" }) {
  return (
    <p className={`rq-notice ${level}`}>
      <Icon name={level === "none" ? "dash" : "bang"} />
      <span><Prose>{children}</Prose></span>
    </p>
  );
}
