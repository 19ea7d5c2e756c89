/* PyTorch's float32 sum: see torch_math.h. */
#include "quant/torch_math.h"

enum { LANES = 8, COLUMNS = 4, LEVELS = 4 };

/* Adds `rows` rows of `width` floats into out[width]. Partial sums move up one of four levels every 2^power
 * rows, as in multi_row_sum of SumKernel.cpp. */
static void sum_rows(const float *values, size_t rows, size_t width, float *out)
{
    float level[LEVELS][COLUMNS * LANES] = {{0}};
    unsigned log2 = 0;
    while (((size_t)1 << log2) < rows) {
        log2++;
    }
    const unsigned power = log2 / LEVELS > 4 ? log2 / LEVELS : 4;
    const size_t step = (size_t)1 << power, mask = step - 1;
    size_t i = 0;
    while (i + step <= rows) {
        for (const size_t end = i + step; i < end; i++) {
            for (size_t k = 0; k < width; k++) {
                level[0][k] += values[i * width + k];
            }
        }
        for (unsigned j = 1; j < LEVELS; j++) {
            for (size_t k = 0; k < width; k++) {
                level[j][k] += level[j - 1][k];
                level[j - 1][k] = 0;
            }
            if (i & (mask << (j * power))) {
                break;
            }
        }
    }
    for (; i < rows; i++) {
        for (size_t k = 0; k < width; k++) {
            level[0][k] += values[i * width + k];
        }
    }
    for (size_t k = 0; k < width; k++) {
        out[k] = ((level[0][k] + level[1][k]) + level[2][k]) + level[3][k];
    }
}

float qb_torch_sum(const float *values, size_t count)
{
    /* Fewer than one vector: the scalar routine, which is the same with one lane. */
    const size_t lanes = count >= LANES ? LANES : 1;
    const size_t vectors = count / lanes, rows = vectors / COLUMNS;
    float column[COLUMNS * LANES];
    sum_rows(values, rows, COLUMNS * lanes, column);
    for (size_t v = rows * COLUMNS; v < vectors; v++) { /* vectors that fill no row */
        for (size_t k = 0; k < lanes; k++) {
            column[k] += values[v * lanes + k];
        }
    }
    for (size_t c = 1; c < COLUMNS; c++) {
        for (size_t k = 0; k < lanes; k++) {
            column[k] += column[c * lanes + k];
        }
    }
    float total = 0;
    for (size_t i = vectors * lanes; i < count; i++) { /* values that fill no vector come first */
        total += values[i];
    }
    for (size_t k = 0; k < lanes; k++) {
        total += column[k];
    }
    return total;
}
