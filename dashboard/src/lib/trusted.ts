/** Trusted Types: the two places where text becomes code or markup, each for one purpose, each named in the policy. */

interface Policy {
  createHTML(text: string): unknown;
  createScriptURL(url: string): unknown;
}

interface Factory {
  createPolicy(name: string, rules: { createHTML?(text: string): string; createScriptURL?(url: string): string }): Policy;
}

const factory = (globalThis as { trustedTypes?: Factory }).trustedTypes;

let workers: Policy | undefined;

/** Return the address of a script of this build as one that may be run; any other address is refused. */
export function trustedScript(url: string): unknown {
  workers ??= factory?.createPolicy("glassline-worker", {
    createScriptURL(given) {
      const wanted = new URL(given, location.href);
      const own = import.meta.url.replace(/[^/]*$/, "");
      if (!wanted.href.startsWith(own)) throw new TypeError("not a script of this build");
      return wanted.href;
    },
  });
  return workers ? workers.createScriptURL(url) : url;
}

/** What DOMPurify parses with: it cleans what comes out before anything of it reaches the page. */
export function markdownPolicy(): Policy | undefined {
  return factory?.createPolicy("glassline-markdown", { createHTML: (text) => text, createScriptURL: () => "about:blank" });
}

/** The number of this page that allows its styles: for libraries that write style elements. */
export function styleNonce(): string {
  return document.querySelector<HTMLMetaElement>("meta[property=csp-nonce]")?.nonce ?? "";
}
