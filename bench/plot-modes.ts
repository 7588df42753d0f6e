/**
 * Draws bench/results/modes.json, which `berth bench modes --out bench/results` writes, and puts its table and plots into
 * docs/performance.md.  npx vite-node bench/plot-modes.ts [modes.json]
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as echarts from 'echarts';
import { median, modesMarkdown } from '../src/cli/bench/markdown.ts';
import { modes, situations, type Measurement, type ModesResult } from '../src/cli/bench/result.ts';
import { resultsDirectory } from './support/measure.ts';

const root = resolve(import.meta.dirname, '..');
const result = JSON.parse(readFileSync(process.argv[2] ?? join(resultsDirectory, 'modes.json'), 'utf8')) as ModesResult;
const plots = join(root, 'docs/plots');
mkdirSync(plots, { recursive: true });

/** Told apart on white, also without red or green. */
const colours = { shell: '#0072b2', image: '#d55e00', registry: '#117733' };

interface Plot {
  readonly file: string;
  readonly title: string;
  readonly unit: string;
  readonly logarithmic: boolean;
  readonly value: (it: Measurement) => number | null;
}

const megabytes = (bytes: number) => Math.round(bytes / 1e4) / 100;
const atOnce = [...new Set(result.measurements.map((it) => it.atOnce))];
const all: Plot[] = atOnce.flatMap((count) => [
  {
    file: `modes-ready-${count}.svg`,
    title: `Time to ready, ${count} at once`,
    unit: 'ms',
    logarithmic: true,
    value: (it: Measurement) => (it.atOnce === count ? Math.round(median(it.readyMs)) : null),
  },
]);
all.push(
  {
    file: 'modes-moved.svg',
    title: 'Bytes moved: downloads and layers',
    unit: 'MB',
    logarithmic: false,
    value: (it) => (it.atOnce === 1 ? megabytes(it.moved.downloads + it.moved.layers) : null),
  },
  {
    file: 'modes-disk.svg',
    title: 'Disk taken by the whole home',
    unit: 'MB',
    logarithmic: false,
    value: (it) =>
      it.atOnce === 1 && it.disk ? megabytes(it.disk.storeBytes + it.disk.blobBytes + it.disk.otherBytes) : null,
  },
);

function draw(plot: Plot): void {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 760, height: 380 });
  const shown = modes.filter((mode) => result.measurements.some((it) => it.mode === mode));
  const valuesOf = (mode: string, situation: string) =>
    result.measurements
      .filter((it) => it.mode === mode && it.situation === situation)
      .map(plot.value)
      .filter((value) => value !== null);
  const told = situations.filter((situation) => shown.some((mode) => valuesOf(mode, situation).length > 0));
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: { text: plot.title, subtext: `median of ${result.configs.length} configs`, left: 16, top: 8 },
    legend: { top: 16, right: 16 },
    grid: { left: 72, right: 24, top: 84, bottom: 40 },
    xAxis: { type: 'category', data: told, axisLabel: { fontSize: 13, color: '#222' } },
    yAxis: {
      type: plot.logarithmic ? 'log' : 'value',
      name: plot.unit,
      nameTextStyle: { color: '#222' },
      axisLabel: { color: '#222' },
      ...(plot.logarithmic ? { min: 1 } : {}),
    },
    series: shown.map((mode) => ({
      name: mode,
      type: 'bar',
      barMaxWidth: 56,
      itemStyle: { color: colours[mode] },
      label: { show: true, position: 'top', color: '#222', formatter: '{c}' },
      data: told.map((situation) => median(valuesOf(mode, situation))),
    })),
  });
  writeFileSync(join(plots, plot.file), chart.renderToSVGString());
  chart.dispose();
}

for (const plot of all) draw(plot);

const page = join(root, 'docs/performance.md');
const images = all.map(({ file, title }) => `![${title}](plots/${file})`).join('\n\n');
const text = readFileSync(page, 'utf8').replace(
  /(<!-- modes:begin -->)[^]*(<!-- modes:end -->)/,
  (_, begin: string, end: string) => `${begin}\n\n${modesMarkdown(result)}\n\n${images}\n\n${end}`,
);
writeFileSync(page, text);
