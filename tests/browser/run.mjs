// Runs a plan of steps in Debian's Chromium and prints the results as one JSON array.
// Usage: node run.mjs PLAN.json PLAYWRIGHT_CORE_FOLDER
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const STEP_LIMIT_MS = 20_000;
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
];

const [planPath, playwrightPath] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(playwrightPath);
const { setup, steps } = JSON.parse(readFileSync(planPath, 'utf8'));

const actions = {
  goto: (page, s) => page.goto(s.url).then((answer) => answer.status()),
  fill: (page, s) => page.fill(s.selector, s.value),
  select: (page, s) => page.selectOption(s.selector, s.value),
  check: (page, s) => page.check(s.selector),
  attach: (page, s) => page.setInputFiles(s.selector, s.path),
  click: (page, s) => page.click(s.selector),
  press: (page, s) => page.keyboard.press(s.key),
  type: (page, s) => page.keyboard.type(s.text),
  input_value: (page, s) => page.inputValue(s.selector),
  wait_text: (page, s) => page.getByText(s.text).first().waitFor({ state: 'visible' }),
  text: (page, s) => page.innerText(s.selector),
  attribute: (page, s) => page.getAttribute(s.selector, s.name),
  url: (page) => page.url(),
  evaluate: (page, s) => page.evaluate(s.script),
  screenshot: (page, s) => page.screenshot({ path: s.path, fullPage: true }).then(() => null),
};

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: FLAGS });
const results = [];
try {
  const context = await browser.newContext(setup);
  context.setDefaultTimeout(STEP_LIMIT_MS);
  const page = await context.newPage();
  page.on('pageerror', (error) => console.error(`script error in the page: ${error}`));
  for (const [index, step] of steps.entries()) {
    try {
      results.push((await actions[step.do](page, step)) ?? null);
    } catch (error) {
      console.error(`step ${index + 1} ${JSON.stringify(step)} at ${page.url()}\n${error}`);
      console.error((await page.innerText('body').catch(() => '')).slice(0, 2000));
      process.exitCode = 1;
      break;
    }
  }
} finally {
  await browser.close();
}
if (!process.exitCode) console.log(JSON.stringify(results));
