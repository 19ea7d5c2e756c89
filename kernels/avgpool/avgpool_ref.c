/* Average pooling in plain C: the meaning of avgpool.h. */
#include "kernels/avgpool/avgpool_impls.h"
#include "kernels/tail_ref.h"

static void average_floats(const struct qb_pool *p, const uint8_t *window, uint8_t *dst)
{
    for (size_t k = 0; k < 16; k++) {
        float sum = 0.0F;
        for (size_t i = 0; i < (size_t)p->kh; i++) {
            for (size_t j = 0; j < (size_t)p->kw; j++) {
                sum += p->scale * (float)(window[i * p->src_pitch + j * p->src_step + k] - p->zero);
            }
        }
        dst[k] = qb_tail_code(sum / p->count / p->dst_scale + p->offset, p->zero_point, 0);
    }
}

static void average(const struct qb_pool *p, const uint8_t *window, uint8_t *dst)
{
    for (size_t k = 0; k < 16; k++) {
        int32_t sum = 0;
        for (size_t i = 0; i < (size_t)p->kh; i++) {
            for (size_t j = 0; j < (size_t)p->kw; j++) {
                sum += window[i * p->src_pitch + j * p->src_step + k];
            }
        }
        dst[k] = qb_tail_code((float)(sum - p->minus) * p->inverse, p->zero_point, 0);
    }
}

static void run(const struct qb_pool *p, const uint8_t *src, uint8_t *dst)
{
    for (size_t y = 0; y < (size_t)p->dst_h; y++) {
        for (size_t x = 0; x < (size_t)p->dst_w; x++) {
            const uint8_t *const window =
                src + y * (size_t)p->stride_h * p->src_pitch + x * (size_t)p->stride_w * p->src_step;
            uint8_t *const to = dst + y * p->dst_pitch + x * p->dst_step;
            for (size_t block = 0; block < (size_t)p->blocks; block++) {
                (p->floats ? average_floats : average)(p, window + block * 16, to + block * 16);
            }
        }
    }
}

const struct qb_avgpool_impl qb_avgpool_ref = {.name = "ref", .isa = QB_ISA_REF, .run = run};
