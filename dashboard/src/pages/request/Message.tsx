/** One message and its parts. Everything from the wire is a text node here, or goes through the one sanitised renderer. */
import { useState, type ReactNode } from "react";
import { get } from "../../lib/api.ts";
import { bytes, count, plural } from "../../lib/format.ts";
import { address } from "../../lib/path.ts";
import { Button } from "../../ui/Button.tsx";
import { Chip } from "../../ui/Chip.tsx";
import { CopyButton } from "../../ui/CopyButton.tsx";
import { Icon, type IconName } from "../../ui/Icon.tsx";
import { Markdown } from "../../ui/Markdown.tsx";
import { StatusPill } from "../../ui/Status.tsx";
import { toastError } from "../../ui/Toast.tsx";
import { pathOf, type Call, type Conversation, type Flag, type Medium, type Message, type Part, type Plain, type Result } from "./api.ts";
import { pieces, pretty } from "./json.ts";
import { FLAGS, ROLES, spoken } from "./words.ts";

export type Look = "rendered" | "plain" | "tokens";

interface SaidProps {
  /** Of the request. */
  id: string;
  message: Message;
  look: Look;
  /** Instructions: a line of it, until somebody wants to read it. */
  isFolded?: boolean;
  /** Show whatever is folded: somebody searches in it. */
  isOpen?: boolean;
  isAnswer?: boolean;
  flags?: readonly Flag[];
  about?: readonly string[];
}

/** One message. */
export function Said({ id, message: given, look, isFolded = false, isOpen = false, isAnswer = false, flags = [], about = [] }: SaidProps) {
  const [whole, setWhole] = useState<Message | null>(null);
  const [isUnfolded, unfold] = useState(false);
  const [isReading, setReading] = useState(false);
  const message = whole ?? given;
  const cut = Object.values(message.cut).reduce((sum, each) => sum + each, 0);
  const readAll = async () => {
    setReading(true);
    try {
      const at = given.index;
      const said = await get<Conversation>(pathOf(id, "/conversation"), isAnswer ? { from: 0, to: 0, full: 1 } : { from: at, to: at + 1, full: 1 });
      setWhole((isAnswer ? said.answers[at]?.message : said.messages[0]) ?? given);
    } catch (error) {
      toastError(error);
    } finally {
      setReading(false);
    }
  };
  // What fits into a line is not folded into one.
  const isShort = isFolded && !isUnfolded && !isOpen && given.size > 160;
  return (
    <article className="rq-said" data-role={message.role} aria-label={`${ROLES[message.role] ?? message.role}${isAnswer ? ", response" : ""}`}>
      <header>
        <i aria-hidden="true" />
        <span className="wire">{ROLES[message.role] ?? spoken(message.role)}</span>
        {message.name && <small className="wire muted">{message.name}</small>}
      </header>
      <div className="rq-parts">
        {flags.length > 0 && (
          <div className="rq-flags">
            {flags.map((flag) => (
              <span key={flag}><StatusPill level={FLAGS[flag][0]}>{FLAGS[flag][1]}</StatusPill> <span className="muted">{FLAGS[flag][2]}</span></span>
            ))}
          </div>
        )}
        {isShort ? (
          <Folded text={plainOf(message)} action={`Show about ${plural(message.tokens, "token")}`} onOpen={() => unfold(true)} />
        ) : (
          message.parts.map((part, at) => <PartView key={at} id={id} part={part} isRendered={look !== "plain" && isMarkdown(message.role)} isOpen={isOpen} />)
        )}
        {!isShort && cut > 0 && (
          <Button size="small" disabled={isReading} onClick={() => void readAll()}>
            {isReading ? "Reading…" : `Show all ${count(cut)} characters`}
          </Button>
        )}
        {message.parts.length === 0 && <p className="muted">Nothing.</p>}
        {(about.length > 0 || look === "tokens" || (isFolded && isUnfolded && !isShort)) && (
          <p className="caption num rq-about">
            {look === "tokens" && <span>{`about ${plural(message.tokens, "token")}`}</span>}
            {about.filter((each) => !(look === "tokens" && each.startsWith("about"))).map((each) => <span key={each} className="wire">{each}</span>)}
            {isFolded && isUnfolded && <Button size="small" kind="ghost" className="link" onClick={() => unfold(false)}>Fold</Button>}
          </p>
        )}
      </div>
    </article>
  );
}

/** Whose words are shown as Markdown: a model's. What people and programs write is shown as they wrote it. */
function isMarkdown(role: string): boolean {
  return role === "assistant";
}

function plainOf(message: Message): string {
  return message.parts.map((part) => ("text" in part ? part.text : "")).join(" ").slice(0, 400).replace(/\s+/g, " ");
}

function Folded({ text, action, onOpen }: { text: string; action: string; onOpen(): void }) {
  return (
    <div className="rq-folded">
      <span className="ellipsis wire muted">{text}</span>
      <button type="button" className="link nowrap" aria-expanded="false" onClick={onOpen}>{action}</button>
    </div>
  );
}

function PartView({ id, part, isRendered, isOpen }: { id: string; part: Part; isRendered: boolean; isOpen: boolean }) {
  switch (part.kind) {
    case "text":
      return <TextView text={part.text} isRendered={isRendered} />;
    case "thinking":
      return <ThinkingView text={part.text} isOpen={isOpen} />;
    case "refusal":
      return <p className="rq-text wire">{part.text}</p>;
    case "json":
      return <Document text={part.text} note={part.is_valid ? "valid JSON" : undefined} problem={part.is_valid ? undefined : "not valid JSON"} />;
    case "tool_call":
      return <CallView call={part} />;
    case "tool_result":
      return <ResultView id={id} result={part} />;
    case "media":
      return <MediaView id={id} medium={part} />;
    case "raw":
      return <Document head={part.label || "Unknown part"} text={part.text} />;
  }
}

function TextView({ text, isRendered }: { text: string; isRendered: boolean }) {
  // What has no sign of Markdown in it needs no renderer.
  return isRendered && /[*_`#[\]|>~\n-]/.test(text) ? <Markdown text={text} /> : <p className="rq-text wire">{text}</p>;
}

function ThinkingView({ text, isOpen }: { text: string; isOpen: boolean }) {
  const [isUnfolded, unfold] = useState(false);
  if (!text) return <p className="muted">The provider hides what it thought.</p>;
  if (!isUnfolded && !isOpen) return <Folded text={text.slice(0, 400).replace(/\s+/g, " ")} action="Show thinking" onOpen={() => unfold(true)} />;
  return (
    <div className="rq-thinking">
      <p className="rq-text wire">{text}</p>
      {isUnfolded && <button type="button" className="link" aria-expanded="true" onClick={() => unfold(false)}>Hide thinking</button>}
    </div>
  );
}

function CallView({ call }: { call: Call }) {
  return <Document head={call.name ?? "A tool"} end={call.id} text={call.arguments || "{}"} problem={call.is_valid ? undefined : "The arguments are no JSON"} />;
}

function ResultView({ id, result }: { id: string; result: Result }) {
  const [first, ...rest] = result.parts;
  const mark = result.is_error ? "The tool failed" : undefined;
  if (first && rest.length === 0 && first.kind === "text") return <Document head={result.name ?? "A tool"} end={result.id} text={first.text} problem={mark} />;
  return (
    <div className="rq-doc">
      <DocumentHead head={result.name ?? "A tool"} end={result.id} problem={mark} />
      {result.parts.map((part, at) => <Inner key={at} id={id} part={part} />)}
      {result.parts.length === 0 && <p className="muted">Nothing came of it.</p>}
    </div>
  );
}

function Inner({ id, part }: { id: string; part: Plain }) {
  return part.kind === "media" ? <MediaView id={id} medium={part} /> : <Code text={part.text} />;
}

/** A text that is mostly JSON: arguments, results, structured answers. */
function Document({ head, end, text, note, problem }: { head?: string; end?: string | null; text: string; note?: ReactNode; problem?: string | undefined }) {
  return (
    <div className="rq-doc">
      <DocumentHead head={head} end={end} note={note} problem={problem} />
      <Code text={text} />
    </div>
  );
}

function DocumentHead({ head, end, note, problem }: { head?: string | undefined; end?: string | null | undefined; note?: ReactNode; problem?: string | undefined }) {
  if (!head && !end && !note && !problem) return null;
  return (
    <div className="rq-doc-head">
      {head && <b className="mono wire">{head}</b>}
      {problem && <StatusPill level="bad">{problem}</StatusPill>}
      <span className="end muted wire">{end ?? note}</span>
    </div>
  );
}

const LINES = 24;

function Code({ text }: { text: string }) {
  const [isWhole, setWhole] = useState(false);
  const written = pretty(text);
  const shown = written ?? text;
  // Only what is JSON, or began as such, has its colours: a number in a program is none of ours.
  const isJson = written !== null || /^\s*[[{]/.test(text);
  const lines = shown.split("\n");
  const isLong = lines.length > LINES + 6 || shown.length > 6_000;
  const visible = isLong && !isWhole ? lines.slice(0, LINES).join("\n").slice(0, 4_000) : shown;
  return (
    <div className="rq-code">
      <pre className="code lines wire" tabIndex={0}>
        {!isJson || visible.length > 20_000 ? visible : pieces(visible).map((piece, at) => (piece.kind === "plain" ? piece.text : <span key={at} className={`j-${piece.kind}`}>{piece.text}</span>))}
      </pre>
      <CopyButton className="rq-copy" isIcon label="Copy" text={text} />
      {isLong && (
        <Button size="small" kind="ghost" className="link" aria-expanded={isWhole} onClick={() => setWhole(!isWhole)}>
          {isWhole ? "Show less" : `Show all, ${count(text.length)} characters`}
        </Button>
      )}
    </div>
  );
}

const SIGNS: Record<Medium["form"], IconName> = { image: "columns", audio: "play", video: "play", file: "list" };

/** A picture or a sound: inert until somebody wants it, and never fetched from anywhere else. */
function MediaView({ id, medium }: { id: string; medium: Medium }) {
  const [isShown, show] = useState(false);
  const [hasFailed, fail] = useState(false);
  const src = medium.blob === null ? null : address(pathOf(id, `/blobs/${medium.blob}`));
  const isVisible = medium.form === "image" && !/svg/.test(medium.media_type);
  const isHeard = medium.form === "audio" || medium.form === "video";
  return (
    <div className="rq-media">
      <div className="rq-media-line">
        <Icon name={SIGNS[medium.form]} />
        <span className="ellipsis wire">{medium.name ?? spoken(medium.form)}</span>
        <Chip isPlain>{[medium.media_type, medium.size === null ? "" : bytes(medium.size)].filter(Boolean).join(", ")}</Chip>
        {src && (isVisible || isHeard) && !hasFailed && (
          <Button size="small" aria-expanded={isShown} onClick={() => show(!isShown)}>{isShown ? "Hide" : isVisible ? "Show image" : "Play"}</Button>
        )}
        {src && <a className="link" href={src} download>Download</a>}
        {medium.url && (
          <a className="link wire ellipsis" href={/^https?:/i.test(medium.url) ? medium.url : undefined} target="_blank" rel="noopener noreferrer nofollow" title={medium.url}>
            {hostOf(medium.url)}
          </a>
        )}
      </div>
      {src && isShown && isVisible && !hasFailed && <img src={src} alt={medium.name ?? "Image of the conversation"} onError={() => fail(true)} />}
      {src && isShown && medium.form === "audio" && <audio src={src} controls onError={() => fail(true)} />}
      {src && isShown && medium.form === "video" && <video src={src} controls onError={() => fail(true)} />}
      {hasFailed && <p className="caption">It cannot be shown: its bytes are not what they are called. Download it to look at them.</p>}
    </div>
  );
}

/** Where a link leads; the whole address is in its title. */
function hostOf(url: string): string {
  try {
    return `at ${new URL(url).host || new URL(url).protocol}`;
  } catch {
    return url.slice(0, 80);
  }
}
