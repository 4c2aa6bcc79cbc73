import { useState } from "react";
import { copy } from "../lib/clipboard.ts";
import { Button, type ButtonProps } from "./Button.tsx";
import { Icon } from "./Icon.tsx";

/** Copies a text, and says so. */
export function CopyButton({ text, label = "Copy", isIcon, ...rest }: { text: string | (() => string | Promise<string>); label?: string; isIcon?: boolean } & Omit<ButtonProps, "children">) {
  const [said, setSaid] = useState<string | null>(null);
  const onClick = async () => {
    const isCopied = await copy(typeof text === "string" ? text : await text());
    setSaid(isCopied ? "Copied" : "Could not copy");
    setTimeout(() => setSaid(null), 1_500);
  };
  return (
    <Button size="small" kind={isIcon ? "ghost" : "normal"} {...rest} aria-label={isIcon ? label : undefined} onClick={() => void onClick()}>
      <Icon name={said === "Copied" ? "check" : "copy"} />
      {!isIcon && (said ?? label)}
      <span className="sr" role="status">{said ?? ""}</span>
    </Button>
  );
}

/** An id: shown in mono, copied with a click. */
export function Id({ id, shown = id }: { id: string; shown?: string }) {
  const [isCopied, setCopied] = useState(false);
  const onClick = async () => {
    setCopied(await copy(id));
    setTimeout(() => setCopied(false), 1_500);
  };
  return (
    <button type="button" className="mono muted ellipsis wire" title={`${id} (click to copy)`} onClick={() => void onClick()}>
      {isCopied ? "copied" : shown}
    </button>
  );
}
