// What the platforms' own parsers and language services say of pipeline files, a line for each finding.
// node check.mjs AZURE_SCHEMA FILE...   exit code 1 if there is one
import { readFileSync } from "node:fs";
import { createRequire, register } from "node:module";

// The language service imports JSON files as bundlers do; Node wants to be told.
const hook = `
import { readFile } from "node:fs/promises";
export async function load(url, context, next) {
  if (!url.endsWith(".json")) return next(url, context);
  const text = await readFile(new URL(url), "utf8");
  return { format: "module", shortCircuit: true, source: "export default " + text };
}`;
register(`data:text/javascript,${encodeURIComponent(hook)}`, import.meta.url);
const require = createRequire(import.meta.url);

const { convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow } = await import("@actions/workflow-parser");
const { validate } = await import("@actions/languageservice");
const { TextDocument } = await import("vscode-languageserver-textdocument");
const azure = require("azure-pipelines-language-service");
const { parse } = require("azure-pipelines-language-service/lib/parser/yamlParser");

async function onGitHub(name, content) {
  const result = parseWorkflow({ name, content }, new NoOperationTraceWriter());
  const errors = result.context.errors.getErrors().map((error) => [error.range?.start.line, error.message]);
  if (errors.length === 0) {
    const template = await convertWorkflowTemplate(result.context, result.value);
    errors.push(...(template.errors ?? []).map((error) => [undefined, error.Message]));
  }
  const document = TextDocument.create(`file:///${name}`, "yaml", 1, content);
  const said = await validate(document);
  return [...errors, ...said.map((one) => [one.range.start.line + 1, one.message])];
}

async function onAzure(name, content) {
  const document = TextDocument.create(`file:///${name}`, "azure-pipelines", 1, content);
  const said = await service.doValidation(document, parse(content));
  return said.map((one) => [one.range.start.line + 1, one.message]);
}

console.log = () => {}; // the libraries talk to themselves
const [schemaFile, ...files] = process.argv.slice(2);
const schema = JSON.parse(readFileSync(schemaFile, "utf8"));
const service = azure.getLanguageService(async () => schema, [], undefined, undefined);
service.configure({ validate: true, schemas: [{ fileMatch: ["*.yml"], uri: "file:///schema.json", schema }] });
let found = 0;
for (const file of files) {
  const content = readFileSync(file, "utf8");
  const check = file.includes(".azure-pipelines") ? onAzure : onGitHub;
  for (const [line, message] of await check(file, content)) {
    process.stdout.write(`${file}:${line ?? "?"}: ${message.slice(0, 300)}\n`);
    found += 1;
  }
}
process.exitCode = found ? 1 : 0;
