// An int8 output-stationary systolic array with ping-pong operand buffers, and everything around it that takes
// time: loading, skewed feeding, draining, storing, one port to DDR or two.
//
// A tile is ROWS x COLS outputs, a sum of k outer products; the operands of one product (ROWS + COLS bytes) are
// a slice. Tiles run in order. With one port, its order is fixed: load 0, load 1, store 0, load 2, store 1, ...
// The environment answers the port: it raises ld_valid with each slice, and st_ready for each row it takes,
// whenever it likes; nothing here assumes how long that takes.

module pe (
    input  wire               clk,
    input  wire               rst,
    input  wire signed [7:0]  a_in,
    input  wire signed [7:0]  b_in,
    input  wire               valid_in,
    input  wire               last_in,
    input  wire               shift,
    input  wire signed [31:0] above,   // result of the neighbour above, while shifting
    output reg  signed [7:0]  a_out,
    output reg  signed [7:0]  b_out,
    output reg                valid_out,
    output reg                last_out,
    output reg  signed [31:0] result
);
    reg  signed [31:0] sum;
    wire signed [31:0] next = sum + a_in * b_in;

    always @(posedge clk) begin
        a_out     <= a_in;
        b_out     <= b_in;
        valid_out <= valid_in & ~rst;
        last_out  <= last_in & ~rst;
        if (shift) result <= above;
        // A new result wins over the shift: by then this element's old one has moved on.
        if (valid_in & last_in) result <= next;
        if (rst | (valid_in & last_in)) sum <= 0;
        else if (valid_in) sum <= next;
    end
endmodule

module systolic #(
    parameter ROWS  = 8,
    parameter COLS  = 8,
    parameter DEPTH = 256  // slices that one half of the operand buffer holds
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire [15:0]               k,         // slices a tile
    input  wire [15:0]               tiles,
    input  wire                      separate,  // stores have a port of their own
    output wire                      ld_active,
    input  wire                      ld_valid,
    input  wire [8*(ROWS+COLS)-1:0]  ld_slice,
    output wire                      st_active,
    input  wire                      st_ready,
    output wire [32*COLS-1:0]        st_row,
    output wire                      done
);
    // How many tiles have been loaded, fed into the array, captured as results, drained, stored.
    reg [15:0] loaded, fed, captured, drained, stored;

    // --- loading: into the half that the tile before last has left ---
    reg [15:0] ld_count;
    assign ld_active = ~rst & (loaded < tiles) & (loaded < fed + 2) & (separate | (loaded <= stored + 1));
    reg [8*(ROWS+COLS)-1:0] buffer [0:2*DEPTH-1];
    wire ld_last = ld_valid & (ld_count == k - 1);

    always @(posedge clk) begin
        if (ld_valid) buffer[loaded[0] * DEPTH + ld_count] <= ld_slice;
        if (rst | ld_last) ld_count <= 0;
        else if (ld_valid) ld_count <= ld_count + 1;
        loaded <= rst ? 16'd0 : loaded + {15'd0, ld_last};
    end

    // --- feeding: one slice a cycle; the last one waits until it cannot overwrite what is being drained ---
    reg [15:0] feed_count;
    wire feed_last = feed_count == k - 1;
    wire drain_done;
    wire feed = ~rst & (fed < loaded) & (~feed_last | (drained >= fed) | drain_done);
    wire [8*(ROWS+COLS)-1:0] slice = buffer[fed[0] * DEPTH + feed_count];

    always @(posedge clk) begin
        if (rst | (feed & feed_last)) feed_count <= 0;
        else if (feed) feed_count <= feed_count + 1;
        fed <= rst ? 16'd0 : fed + {15'd0, feed & feed_last};
    end

    // --- the array, its edges skewed: row r and column c of a slice enter r and c cycles late ---
    wire signed [7:0]  a [0:ROWS-1][0:COLS];
    wire signed [7:0]  b [0:ROWS][0:COLS-1];
    wire               v [0:ROWS-1][0:COLS];
    wire               l [0:ROWS-1][0:COLS];
    wire signed [31:0] result [0:ROWS][0:COLS-1];
    wire drain;

    genvar r, c, d;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : row
            reg [9:0] late [0:r];
            wire [9:0] entering = {feed, feed & feed_last, slice[8*r +: 8]};
            if (r == 0) begin : edge_row
                assign {v[r][0], l[r][0], a[r][0]} = entering;
            end else begin : edge_row
                for (d = 0; d < r; d = d + 1) begin : delay
                    always @(posedge clk) late[d] <= rst ? 10'd0 : (d == 0 ? entering : late[d == 0 ? 0 : d-1]);
                end
                assign {v[r][0], l[r][0], a[r][0]} = late[r-1];
            end
            for (c = 0; c < COLS; c = c + 1) begin : col
                pe cell_ (.clk(clk), .rst(rst), .a_in(a[r][c]), .b_in(b[r][c]), .valid_in(v[r][c]),
                          .last_in(l[r][c]), .shift(drain), .above(result[r][c]), .a_out(a[r][c+1]),
                          .b_out(b[r+1][c]), .valid_out(v[r][c+1]), .last_out(l[r][c+1]),
                          .result(result[r+1][c]));
            end
        end
        for (c = 0; c < COLS; c = c + 1) begin : column
            reg [7:0] late [0:c];
            assign result[0][c] = 0;
            if (c == 0) begin : edge_col
                assign b[0][c] = slice[8*(ROWS+c) +: 8];
            end else begin : edge_col
                for (d = 0; d < c; d = d + 1) begin : delay
                    always @(posedge clk) late[d] <= d == 0 ? slice[8*(ROWS+c) +: 8] : late[d == 0 ? 0 : d-1];
                end
                assign b[0][c] = late[c-1];
            end
        end
    endgenerate

    always @(posedge clk)
        captured <= rst ? 16'd0 : captured + {15'd0, v[ROWS-1][COLS-1] & l[ROWS-1][COLS-1]};

    // --- draining: once all results are there, a row a cycle moves down into the output buffer ---
    reg [15:0] drain_count;
    reg [32*COLS-1:0] output_rows [0:ROWS-1];
    assign drain = ~rst & (captured > drained) & (stored == drained);
    assign drain_done = drain & (drain_count == ROWS - 1);

    integer i;
    always @(posedge clk) begin
        if (drain) for (i = 0; i < COLS; i = i + 1) output_rows[drain_count][32*i +: 32] <= result[ROWS][i];
        if (rst | drain_done) drain_count <= 0;
        else if (drain) drain_count <= drain_count + 1;
        drained <= rst ? 16'd0 : drained + {15'd0, drain_done};
    end

    // --- storing: the rows in the order they came, the lowest first ---
    reg [15:0] st_count;
    wire st_last = st_active & st_ready & (st_count == ROWS - 1);
    assign st_active = ~rst & (drained > stored) & (separate | (loaded == tiles) | (loaded > stored + 1));
    assign st_row = output_rows[st_count];
    assign done = stored == tiles;

    always @(posedge clk) begin
        if (rst | st_last) st_count <= 0;
        else if (st_active & st_ready) st_count <= st_count + 1;
        stored <= rst ? 16'd0 : stored + {15'd0, st_last};
    end
endmodule
