/**
 * What a migration takes away from the release that serves while it is applied:
 * tables, columns and rows that would be gone, and what would be called, typed
 * or demanded otherwise. Read from the SQL, so it errs on the side of asking.
 */

const NOISE = [
  /--[^\n]*/g,
  /\/\*[\s\S]*?\*\//g,
  // A function's body is not run by being defined, but that of DO is; what is quoted is data.
  /(?<!\bDO\s*)(\$[A-Za-z_]*\$)[\s\S]*?\1/gi,
  /'(?:[^']|'')*'/g,
]

const NAME = String.raw`(?:IF\s+EXISTS\s+)?((?:"[^"]+"|[\w$]+)(?:\s*\.\s*(?:"[^"]+"|[\w$]+))?)`

const KINDS = [
  [String.raw`\bDROP\s+(TABLE|COLUMN|SCHEMA|VIEW|MATERIALIZED\s+VIEW|TYPE|SEQUENCE|FUNCTION)\s+${NAME}`, (kind, name) => `DROP ${kind} ${name}`],
  // COLUMN may be left out.
  [
    String.raw`\bDROP\s+(?!TABLE\b|COLUMN\b|SCHEMA\b|VIEW\b|MATERIALIZED\b|TYPE\b|SEQUENCE\b|FUNCTION\b|INDEX\b|CONSTRAINT\b|DEFAULT\b|NOT\b|IDENTITY\b|EXPRESSION\b|TRIGGER\b|POLICY\b|RULE\b|EXTENSION\b|ROLE\b|USER\b)${NAME}`,
    (name) => `DROP ${name}`,
  ],
  [String.raw`\bTRUNCATE\s+(?:TABLE\s+)?(?:ONLY\s+)?${NAME}`, (name) => `TRUNCATE ${name}`],
  [String.raw`\bDELETE\s+FROM\s+(?:ONLY\s+)?${NAME}`, (name) => `DELETE FROM ${name}`],
  [String.raw`\bRENAME\s+(?:(?:COLUMN|CONSTRAINT)\s+)?(?:${NAME}\s+)?TO\s+${NAME}`, (from, to) => `RENAME ${from ? `${from} ` : ''}TO ${to}`],
  [String.raw`\bALTER\s+(?:COLUMN\s+)?${NAME}\s+(?:SET\s+DATA\s+)?TYPE\b`, (name) => `ALTER COLUMN ${name} TYPE`],
  [String.raw`\bALTER\s+(?:COLUMN\s+)?${NAME}\s+SET\s+NOT\s+NULL\b`, (name) => `ALTER COLUMN ${name} SET NOT NULL`],
].map(([pattern, say]) => [new RegExp(pattern, 'gi'), say])

export function takesAway(sql) {
  const plain = NOISE.reduce((text, noise) => text.replace(noise, ' '), sql)
  return KINDS.flatMap(([pattern, say]) => [...plain.matchAll(pattern)].map((found) => say(...found.slice(1).map((part) => part?.replace(/\s+/g, ' ')))))
}
