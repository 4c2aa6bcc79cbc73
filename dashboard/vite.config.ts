/**
 * The build: stable names, so that a change of ours touches few files of the result; the same bytes every time.
 *
 * It also writes SOURCE_HASH, by which a test without Node sees that the build is that of these sources, and
 * LICENSES.txt, the licences of what is bundled.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "../proxy/admin/static");

/** Files whose change makes the build another. */
function sources(folder: string): string[] {
  return readdirSync(folder)
    .toSorted()
    .filter((name) => name !== "node_modules" && !name.startsWith("."))
    .flatMap((name) => {
      const path = join(folder, name);
      return statSync(path).isDirectory() ? sources(path) : [path];
    })
    .filter((path) => !/\.test\.tsx?$/.test(path));
}

function sourceHash(): string {
  const sum = createHash("sha256");
  const names = sources(here).map((path) => relative(here, path).replaceAll("\\", "/"));
  for (const name of names.toSorted()) {
    sum.update(`${name}\0`).update(readFileSync(join(here, name))).update("\0");
  }
  return sum.digest("hex");
}

/** The licences of the packages whose code is in the bundles. */
function licences(folders: Iterable<string>): string[] {
  return [...new Set(folders)]
    .toSorted()
    .map((folder) => {
      const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { name: string; version: string; license?: string };
      const file = readdirSync(folder).find((name) => /^(licen[cs]e|copying|ofl)/i.test(name) && statSync(join(folder, name)).isFile());
      const text = file ? readFileSync(join(folder, file), "utf8").trim() : `Licence: ${about.license ?? "not stated"}`;
      return `${about.name} ${about.version} (${about.license ?? "see below"})\n\n${text}\n`;
    });
}

function packageFolder(id: string): string | null {
  const found = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id.replace(/^\0/, ""));
  return found?.[1] && existsSync(join(found[1], "package.json")) ? found[1] : null;
}

function bookkeeping(): Plugin {
  return {
    name: "bookkeeping",
    apply: "build",
    writeBundle(_, bundle) {
      const folders = Object.values(bundle).flatMap((part) =>
        part.type === "chunk" ? Object.keys(part.modules).flatMap((id) => packageFolder(id) ?? []) : [],
      );
      const fonts = ["inter", "jetbrains-mono"].map((name) => `${name}.woff2 (OFL-1.1)\n\n${readFileSync(join(here, `fonts/${name}.LICENSE.txt`), "utf8").trim()}\n`);
      writeFileSync(join(out, "LICENSES.txt"), [...fonts, ...licences(folders)].join(`\n${"-".repeat(80)}\n\n`));
      writeFileSync(join(out, "SOURCE_HASH"), `${sourceHash()}\n`);
    },
  };
}

export default defineConfig({
  root: here,
  base: "./",
  plugins: [react(), bookkeeping()],
  build: {
    outDir: out,
    emptyOutDir: true,
    target: "es2023",
    // Browsers of 2024 on: `light-dark()` and nesting stay as they are written.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    cssCodeSplit: false,
    // The server maps every module to an address with its hash; the browser needs no list of them.
    modulePreload: false,
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rolldownOptions: {
      input: { index: join(here, "src/main.tsx") },
      output: {
        entryFileNames: "[name].js",
        // Pages are all called index: they are named after their folder.
        chunkFileNames: ({ name, facadeModuleId }) => {
          const page = /\/src\/pages\/([^/]+)\/index\.tsx$/.exec(facadeModuleId ?? "");
          return page ? `page-${page[1]}.js` : name === "index" ? "shared.js" : `${name}.js`;
        },
        assetFileNames: "[name][extname]",
        codeSplitting: {
          groups: [
            { name: "vendor-react", test: /node_modules\/(react|react-dom|scheduler|use-sync-external-store|wouter|regexparam|mitt|@tanstack\/(react-query|query-core))\//, priority: 30 },
            { name: "vendor-chart", test: /node_modules\/uplot\//, priority: 30 },
            { name: "vendor-virtual", test: /node_modules\/@tanstack\//, priority: 20 },
            { name: "vendor-editor", test: /node_modules\/(@codemirror|@lezer|codemirror|style-mod|w3c-keyname|crelt)\//, priority: 30 },
            { name: "vendor-markdown", test: /node_modules\/(marked|dompurify)\//, priority: 30 },
            // What nearly every page needs, in one file instead of a dozen.
            { name: "common", test: /src\/(lib\/(api|boot|clipboard|format|keys|path|queries|series|settings|time|url|vars|zone)\.|app\/Layout\.|ui\/(Button|Card|Chip|CopyButton|Fields|Icon|LatencyBar|Menu|Sparkline|States|Status|Tabs|Tile|Time|Toast|Tooltip)\.tsx)/, priority: 5 },
            { name: "vendor-aria", test: /node_modules\/(react-aria|react-aria-components|react-stately|@react-aria|@react-stately|@react-types|@internationalized|@swc\/helpers|clsx)/, priority: 10 },
          ],
        },
      },
    },
  },
  worker: { format: "es", rolldownOptions: { output: { entryFileNames: "[name].js" } } },
  // Patient: properties are tried many times, and a machine may have other work.
  test: { include: ["src/**/*.test.{ts,tsx}"], environment: "node", testTimeout: 60_000 },
});
