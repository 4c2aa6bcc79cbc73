/** A sentence of our own in which `code` is set as such. */
export function Prose({ children }: { children: string }) {
  return <>{children.split("`").map((each, at) => (at % 2 ? <code key={at}>{each}</code> : each))}</>;
}
