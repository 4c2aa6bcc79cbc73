/** Heads: what the client sent, what Glassline changes on the way, what the upstream answered. */
import type { ReactNode } from "react";
import { plural } from "../../lib/format.ts";
import { CopyButton } from "../../ui/CopyButton.tsx";
import type { Detail } from "./api.ts";
import { spoken } from "./words.ts";

type Lines = readonly (readonly [string, string])[];

export function HeadersTab({ detail }: { detail: Detail }) {
  const first = `${detail.method} ${detail.path}`;
  return (
    <div className="rq-heads">
      <HeadTable title="Request" note={`${first}, as the client sent it. Credentials are stored as their last four characters, and headers of Glassline's own not at all.`} lines={detail.request.headers} />
      <section>
        <h2>To the upstream</h2>
        <p className="muted">
          Everything above went to <b className="wire">{detail.upstream}</b> in the same order and spelling, but for <code>Host</code>, framing and hop-by-hop headers, and with the credential of the upstream where a virtual key was sent.
          {detail.mutated ? ` Edited: ${detail.mutated.split(",").map(spoken).join(", ").toLowerCase()}.` : " Not a byte of the body was changed."}
        </p>
      </section>
      <HeadTable title="Response" note={detail.status === null ? "No answer came." : `HTTP ${detail.status}, as the upstream sent it.`} lines={detail.response.headers} />
    </div>
  );
}

function HeadTable({ title, note, lines }: { title: string; note: ReactNode; lines: Lines }) {
  return (
    <section>
      <header>
        <h2>{title}</h2>
        <span className="muted">{plural(lines.length, "header")}</span>
        {lines.length > 0 && <span className="end"><CopyButton text={lines.map(([name, value]) => `${name}: ${value}`).join("\n")} /></span>}
      </header>
      <p className="caption wire">{note}</p>
      {lines.length > 0 ? (
        <table className="rq-headers mono">
          <caption className="sr">{`Headers of the ${title.toLowerCase()}`}</caption>
          <tbody>
            {lines.map(([name, value], at) => (
              <tr key={at}>
                <th scope="row" className="wire">{name}</th>
                <td className="wire">{value || <span className="faint">empty</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <p className="muted">None are stored.</p>
      )}
    </section>
  );
}
