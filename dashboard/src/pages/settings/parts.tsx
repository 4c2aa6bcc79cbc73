import type { ReactNode } from "react";
import { CopyButton } from "../../ui/CopyButton.tsx";

/** What to write into the configuration file, ready to be copied: nothing here changes it. */
export function Yaml({ text, isVolatile, children }: { text: string; isVolatile?: boolean; children?: ReactNode }) {
  return (
    <div className="st-yaml">
      <div className="st-about">
        <p className="caption">{children ?? "In the configuration file; then reload with SIGHUP or glassline restart."}</p>
        <CopyButton text={text} label="Copy the YAML" isIcon />
      </div>
      <pre className="code wire" data-volatile={isVolatile || undefined} tabIndex={0} role="group" aria-label="What to write">{text}</pre>
    </div>
  );
}

/** What may be wider than the page scrolls in a box of its own, by keyboard, too. */
export function Scroll({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div className="st-scroll-x" tabIndex={0} role="region" aria-label={label}>
      {children}
    </div>
  );
}
