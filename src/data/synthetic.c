/* A stand-in for CIFAR-10 where there is none: see dataset.h. Every class has its own base colour and its own
 * stripes (direction and period), under uniform noise; a small random phase and brightness vary the images.
 * Integers only, so that the bytes are the same everywhere. */
#include <stdlib.h>

#include "base/rng.h"
#include "data/cifar.h"

/* Colour of the class, stripe direction (steps per pixel in x and y) and period. */
static const struct look {
    uint8_t rgb[QB_IMAGE_C];
    uint8_t dx, dy, period;
} looks[QB_CLASSES] = {
    {{140, 170, 210}, 1, 0, 16}, {{190, 70, 60}, 0, 1, 16},  {{110, 150, 80}, 1, 1, 16},
    {{160, 120, 90}, 1, 3, 16},  {{130, 110, 60}, 3, 1, 16}, {{90, 80, 75}, 1, 0, 8},
    {{80, 140, 60}, 0, 1, 8},    {{150, 110, 70}, 1, 1, 8},  {{60, 100, 160}, 1, 2, 12},
    {{200, 200, 190}, 2, 1, 12},
};
enum { NOISE = 64, CONTRAST = 64, BRIGHTNESS = 41, SEED_TRAIN = 0x51de, SEED_TEST = 0x7e57 };

static uint8_t clamp(int value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void draw(struct qb_rng *rng, const struct look *look, uint8_t *image)
{
    /* A quarter of a period: the mean image of a class keeps its stripes. */
    const unsigned phase = qb_rng_interval(rng, look->period / 4u - 1u);
    const int light = (int)qb_rng_interval(rng, BRIGHTNESS - 1) - BRIGHTNESS / 2;
    for (unsigned y = 0; y < QB_IMAGE_H; y++) {
        for (unsigned x = 0; x < QB_IMAGE_W; x++) {
            /* A triangle wave between 0 and `half`, scaled to -CONTRAST/2 .. CONTRAST/2. */
            const int half = look->period / 2;
            const int at = (int)((x * look->dx + y * look->dy + phase) % look->period);
            const int wave = (at < half ? at : look->period - at) * CONTRAST / half - CONTRAST / 2;
            const uint32_t noise = qb_rng_u32(rng);
            for (unsigned c = 0; c < QB_IMAGE_C; c++) {
                image[(y * QB_IMAGE_W + x) * QB_IMAGE_C + c] =
                    clamp(look->rgb[c] + light + wave + (int)((noise >> 8 * c) % NOISE) - NOISE / 2);
            }
        }
    }
}

enum qb_status qb_dataset_synthetic(enum qb_split split, size_t count, struct qb_dataset *out,
                                    struct qb_error *err)
{
    size_t bytes;
    if (count == 0 || __builtin_mul_overflow(count, (size_t)QB_IMAGE_BYTES, &bytes)) {
        return qb_fail(err, QB_EINPUT, "a synthetic data set of %zu images cannot be made", count);
    }
    struct qb_dataset set = {.name = "synthetic", .synthetic = 1, .split = split, .count = count};
    struct qb_sha256_stream *const sha = qb_sha256_begin();
    set.images = malloc(bytes);
    set.labels = malloc(count);
    if (!set.images || !set.labels || !sha) {
        if (sha) {
            qb_sha256_end(sha, NULL);
        }
        qb_dataset_free(&set);
        return qb_fail_memory(err, bytes);
    }
    struct qb_rng rng;
    qb_rng_seed(&rng, split == QB_SPLIT_TRAIN ? SEED_TRAIN : SEED_TEST);
    for (size_t i = 0; i < count; i++) {
        uint8_t *const image = set.images + i * QB_IMAGE_BYTES, record[QB_CIFAR_RECORD];
        set.labels[i] = (uint8_t)(i % QB_CLASSES);
        draw(&rng, &looks[set.labels[i]], image);
        record[0] = set.labels[i];
        for (size_t k = 0; k < QB_IMAGE_BYTES; k++) {
            record[1 + k % QB_IMAGE_C * QB_CIFAR_PLANE + k / QB_IMAGE_C] = image[k];
        }
        qb_sha256_add(sha, record, sizeof record);
    }
    qb_sha256_end(sha, set.sha256);
    *out = set;
    return QB_OK;
}
