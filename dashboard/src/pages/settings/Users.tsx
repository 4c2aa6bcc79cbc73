import { useState } from "react";
import { boot, may, type Role } from "../../lib/boot.ts";
import { send } from "../../lib/api.ts";
import { forget, useRead } from "../../lib/queries.ts";
import { flag, useUrlState, whole } from "../../lib/url.ts";
import { Button } from "../../ui/Button.tsx";
import { Card } from "../../ui/Card.tsx";
import { CopyButton } from "../../ui/CopyButton.tsx";
import { Confirm, Dialog } from "../../ui/Dialog.tsx";
import { Checkbox, Select, TextField } from "../../ui/Fields.tsx";
import { EmptyState, ErrorState, Loaded, NoPermission } from "../../ui/States.tsx";
import { Time } from "../../ui/Time.tsx";
import type { AuditLine, Token, User } from "./model.ts";
import { Scroll } from "./parts.tsx";

const ROLES = [["viewer", "viewer: sees everything"], ["editor", "editor: also keys and playground"], ["admin", "admin: also users and deletion"]] as const;
const STATE = { revoked: flag(false), before: whole(0) } as const;
const TOKEN_ROLES = [["feedback", "feedback: says what people thought of answers, sees nothing"], ...ROLES] as const;

const FEEDBACK = `/api/feedback -H 'content-type: application/json' -d '{"request": "…", "value": true}'`;

/** Who may look and change, by what, and what they did. */
export function Users() {
  if (!may("admin")) return <NoPermission least="admin" />;
  return (
    <div className="settings-stack">
      <People />
      <Tokens />
      <Audit />
    </div>
  );
}

function People() {
  const answer = useRead<{ users: User[] }>("/api/settings/users");
  const [making, setMaking] = useState(false);
  const [changing, setChanging] = useState<User | null>(null);
  const [leaving, setLeaving] = useState<User | null>(null);
  const [error, setError] = useState<unknown>(null);
  const remove = (user: User) => {
    send("DELETE", `/api/settings/users/${user.name}`).then(() => forget("/api/settings/users", "/api/audit"), setError).finally(() => setLeaving(null));
  };
  return (
    <Card title="Users" end={<Button size="small" icon="plus" onClick={() => setMaking(true)}>New user</Button>}>
      {error !== null && <ErrorState error={error} what="It was not changed" />}
      <Loaded answer={answer} what="The users could not be read">
        {({ users }) =>
          users.length === 0 ? (
            <EmptyState title={boot.by === "open" ? "Nobody is asked who they are" : "No user beside the built-in admin"}>
              {boot.by === "open" ? "Everybody who reaches this port may do everything. With the first user, who must be an admin, everybody is asked for a password from then on." : "The built-in admin has the password of admin.password_file."}
            </EmptyState>
          ) : (
            <Scroll label="Users">
              <table className="simple">
                <thead><tr><th>Name</th><th>Role</th><th>Made</th><th>Changed</th><th><span className="sr">What to do</span></th></tr></thead>
                <tbody>
                  {users.map((user) => (
                    <tr key={user.name}>
                      <th className="wire">{user.name}{user.name === boot.user && <span className="muted"> (you)</span>}</th>
                      <td>{user.role}</td>
                      <td className="nowrap"><Time ms={user.created_ms} isRelative /></td>
                      <td className="nowrap"><Time ms={user.changed_ms} isRelative /></td>
                      <td className="r nowrap">
                        <Button size="small" kind="ghost" onClick={() => setChanging(user)}>Change</Button>
                        {user.name !== boot.user && <Button size="small" kind="ghost" className="danger" onClick={() => setLeaving(user)}>Remove</Button>}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </Scroll>
          )
        }
      </Loaded>
      {making && <UserDialog isFirst={answer.data?.users.length === 0 && boot.by === "open"} onClose={() => setMaking(false)} />}
      {changing && <UserDialog user={changing} onClose={() => setChanging(null)} />}
      {leaving && (
        <Confirm title={`Remove ${leaving.name}?`} action="Remove the user" isDanger onConfirm={() => remove(leaving)} onClose={() => setLeaving(null)}>
          Their sessions end now. Tokens that they made stay in force.
        </Confirm>
      )}
    </Card>
  );
}

/** Make a user, or give one another role or password. */
function UserDialog({ user, isFirst = false, onClose }: { user?: User; isFirst?: boolean; onClose(): void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>(user?.role ?? (isFirst ? "admin" : "viewer"));
  const [password, setPassword] = useState("");
  const [error, setError] = useState<unknown>(null);
  const isMe = user?.name === boot.user;
  const isReady = user ? Boolean(password) || role !== user.role : Boolean(name && password);
  const submit = () => {
    const done = user
      ? send("PATCH", `/api/settings/users/${user.name}`, { ...(role !== user.role ? { role } : {}), ...(password ? { password } : {}) })
      : send("POST", "/api/settings/users", { name, role, password });
    done.then(() => (isFirst ? location.reload() : forget("/api/settings/users", "/api/audit").then(onClose)), setError);
  };
  return (
    <Dialog title={user ? `Change ${user.name}` : "New user"} onClose={onClose} foot={<><Button onClick={onClose}>Cancel</Button><Button kind="primary" disabled={!isReady} onClick={submit}>{user ? "Save" : "Make the user"}</Button></>}>
      <form className="settings-form" onSubmit={(event) => { event.preventDefault(); if (isReady) submit(); }}>
        {!user && <TextField label="Name" value={name} onText={setName} autoFocus autoComplete="off" />}
        <Select<Role> label="Role" value={role} onChange={setRole} options={isMe ? ROLES.filter(([each]) => each === role) : ROLES} />
        <TextField label={user ? "New password" : "Password"} type="password" value={password} onText={setPassword} autoComplete="new-password" help={user ? "Empty: it stays as it is" : "At least 8 characters"} />
        {isFirst && <p className="caption warn">From then on everybody is asked for a password here, this browser included. That cannot be undone by removing users.</p>}
        {user && <p className="caption">Their sessions end with a change.</p>}
        {error !== null && <ErrorState error={error} what="It was not saved" />}
        <button type="submit" hidden />
      </form>
    </Dialog>
  );
}

function Tokens() {
  const [{ revoked }, setState] = useUrlState(STATE);
  const answer = useRead<{ tokens: Token[] }>("/api/tokens");
  const [making, setMaking] = useState(false);
  const [ending, setEnding] = useState<Token | null>(null);
  const [error, setError] = useState<unknown>(null);
  const revoke = (token: Token) => {
    send("DELETE", `/api/tokens/${token.name}`).then(() => forget("/api/tokens", "/api/audit"), setError).finally(() => setEnding(null));
  };
  return (
    <Card title="Tokens" end={<Button size="small" icon="plus" onClick={() => setMaking(true)}>New token</Button>}>
      {error !== null && <ErrorState error={error} what="It was not revoked" />}
      <Loaded answer={answer} what="The tokens could not be read">
        {({ tokens }) => {
          const shown = tokens.filter((token) => revoked || token.revoked_ms === null);
          return (
            <>
              {shown.length === 0 ? <p className="muted">No token: scripts and scrapers show who they are with one.</p> : (
                <Scroll label="Tokens">
                  <table className="simple">
                    <thead><tr><th>Name</th><th>Token</th><th>Role</th><th>Made by</th><th>Last used</th><th>Expires</th><th><span className="sr">What to do</span></th></tr></thead>
                    <tbody>
                      {shown.map((token) => (
                        <tr key={`${token.name} ${token.created_ms}`} className={token.revoked_ms === null ? "" : "muted"}>
                          <th className="wire">{token.name}</th>
                          <td className="mono">glt-…{token.last_four}</td>
                          <td>{token.role}</td>
                          <td className="wire">{token.created_by}</td>
                          <td className="nowrap">{token.used_ms ? <Time ms={token.used_ms} isRelative /> : "never"}</td>
                          <td className="nowrap">{token.revoked_ms ? <>revoked <Time ms={token.revoked_ms} isRelative /></> : token.expires_ms ? <Time ms={token.expires_ms} precision="min" withRelative /> : "never"}</td>
                          <td className="r">{token.revoked_ms === null && <Button size="small" kind="ghost" className="danger" onClick={() => setEnding(token)}>Revoke</Button>}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </Scroll>
              )}
              {tokens.some((token) => token.revoked_ms !== null) && <Checkbox label="Show revoked ones" isChecked={revoked} onChange={(isOn) => setState({ revoked: isOn })} />}
            </>
          );
        }}
      </Loaded>
      {making && <TokenDialog onClose={() => setMaking(false)} />}
      {ending && <Confirm title={`Revoke ${ending.name}?`} action="Revoke the token" isDanger onConfirm={() => revoke(ending)} onClose={() => setEnding(null)}>What uses it is refused from now on.</Confirm>}
    </Card>
  );
}

function TokenDialog({ onClose }: { onClose(): void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Token["role"]>("viewer");
  const [expires, setExpires] = useState("90d");
  const [made, setMade] = useState<(Token & { token: string }) | null>(null);
  const [error, setError] = useState<unknown>(null);
  const submit = () => {
    send<Token & { token: string }>("POST", "/api/tokens", { name, role, ...(expires ? { expires } : {}) }).then((token) => {
      setMade(token);
      void forget("/api/tokens", "/api/audit");
    }, setError);
  };
  if (made) {
    return (
      <Dialog isAlert title={`${made.name} is made`} onClose={onClose} foot={<Button kind="primary" onClick={onClose}>I have copied it</Button>}>
        <p>This is the only time that the token is shown.</p>
        <div className="st-token-once"><code className="wire">{made.token}</code><CopyButton text={made.token} label="Copy the token" /></div>
        <pre className="code wire">{`curl -H "Authorization: Bearer ${made.token}" ${location.origin}${boot.base}${made.role === "feedback" ? FEEDBACK : "/api/status"}`}</pre>
      </Dialog>
    );
  }
  return (
    <Dialog title="New token" onClose={onClose} foot={<><Button onClick={onClose}>Cancel</Button><Button kind="primary" disabled={!name} onClick={submit}>Make the token</Button></>}>
      <div className="settings-form">
        <TextField label="Name" value={name} onText={setName} autoFocus autoComplete="off" help="Of what uses it, such as prometheus" />
        <Select<Token["role"]> label="Role" value={role} onChange={setRole} options={TOKEN_ROLES} />
        <Select label="Expires" value={expires} onChange={setExpires} options={[["30d", "in 30 days"], ["90d", "in 90 days"], ["365d", "in a year"], ["", "never"]]} />
        {error !== null && <ErrorState error={error} what="It was not made" />}
      </div>
    </Dialog>
  );
}

function Audit() {
  const [{ before }, setState] = useUrlState(STATE);
  const answer = useRead<{ audit: AuditLine[]; next_before: number | null }>("/api/audit", { limit: 50, before: before || null });
  return (
    <Card title="Who did what">
      <Loaded answer={answer} what="The audit could not be read">
        {({ audit, next_before }) =>
          audit.length === 0 ? <p className="muted">Nobody changed anything yet.</p> : (
            <>
              <Scroll label="Who did what">
                <table className="simple">
                  <thead><tr><th>When</th><th>Who</th><th>Did</th><th>What</th><th>From</th></tr></thead>
                  <tbody>{audit.map((line) => <tr key={line.id}><td className="nowrap"><Time ms={line.at_ms} withRelative /></td><td className="wire">{line.actor}</td><td className="nowrap">{line.action.replace(".", " ")}</td><td className="wire">{line.subject}</td><td className="wire mono">{line.address}</td></tr>)}</tbody>
                </table>
              </Scroll>
              <div className="st-pager">
                {before > 0 && <Button size="small" onClick={() => setState({ before: 0 })}>Newest</Button>}
                {next_before !== null && <Button size="small" onClick={() => setState({ before: next_before })}>Older</Button>}
              </div>
            </>
          )
        }
      </Loaded>
    </Card>
  );
}
