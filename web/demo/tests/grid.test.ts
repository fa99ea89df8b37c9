import { describe, expect, it } from 'vitest';
import { bestGrid } from '../src/ui/grid';

describe('the grid of tiles', () => {
  it.each([
    [1, 1200, 675, 1],
    [2, 1200, 500, 2],
    [4, 1200, 700, 2],
    [2, 375, 640, 1],
    [4, 366, 690, 1],
    [7, 366, 690, 2],
    [9, 1600, 900, 3],
  ])('%i people in %i x %i stand in %i columns', (count, width, height, columns) => {
    expect(bestGrid(count, width, height, 12).columns).toBe(columns);
  });

  it('never grows beyond the space', () => {
    for (let count = 1; count < 40; count += 1) {
      const { columns, tileWidth, aspect } = bestGrid(count, 1000, 600, 12);
      const rows = Math.ceil(count / columns);
      expect(columns * tileWidth + (columns - 1) * 12).toBeLessThanOrEqual(1000);
      expect((rows * tileWidth) / aspect + (rows - 1) * 12).toBeLessThanOrEqual(600);
    }
  });
});
