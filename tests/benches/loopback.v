// Stands in for the array in tests of the transports: the same ports, no neurons.
// A packet is answered by its own words and a STATUS word with TLAST. Registers are 64 words of memory that no reset clears.
// Words with opcode 4'hE in the top bits make it hang, 4'hD make it withdraw an answer that was not taken,
// 4'hC make it end its answer before the packet has ended, 4'hB make it repeat the word for ever.
module spikeloom(
  input aclk, input aresetn,
  input [63:0] s_axis_tdata, input s_axis_tvalid, output s_axis_tready, input s_axis_tlast,
  output [63:0] m_axis_tdata, output m_axis_tvalid, input m_axis_tready, output m_axis_tlast,
  input [7:0] s_axi_awaddr, input [2:0] s_axi_awprot, input s_axi_awvalid, output s_axi_awready,
  input [31:0] s_axi_wdata, input [3:0] s_axi_wstrb, input s_axi_wvalid, output s_axi_wready,
  output [1:0] s_axi_bresp, output s_axi_bvalid, input s_axi_bready,
  input [7:0] s_axi_araddr, input [2:0] s_axi_arprot, input s_axi_arvalid, output s_axi_arready,
  output [31:0] s_axi_rdata, output [1:0] s_axi_rresp, output s_axi_rvalid, input s_axi_rready);

  reg [63:0] word = 0;
  reg full = 0, status = 0, hung = 0;
  wire early = word[63:60] == 4'hC;
  wire endless = word[63:60] == 4'hB;
  wire fickle = word[63:60] == 4'hD;
  assign s_axis_tready = !hung && !status && (!full || m_axis_tready && !endless);
  assign m_axis_tdata = full ? word : {4'hF, 60'd0};
  assign m_axis_tvalid = full || status;
  assign m_axis_tlast = full ? early : status;
  always @(posedge aclk) begin
    if (!aresetn) begin
      full <= 0;
      status <= 0;
      hung <= 0;
    end else begin
      if (full && !endless && (m_axis_tready || fickle)) full <= 0;
      if (!full && status && m_axis_tready) status <= 0;
      if (s_axis_tvalid && s_axis_tready) begin
        word <= s_axis_tdata;
        full <= 1;
        if (s_axis_tlast) status <= 1;
        if (s_axis_tdata[63:60] == 4'hE) hung <= 1;
      end
    end
  end

  reg [31:0] registers [63:0];
  initial begin
    registers[0] = 32'h00000000;
    registers[1] = 32'h00000000;
    registers[2] = 32'h00000000;
    registers[3] = 32'h00000000;
    registers[4] = 32'h00000000;
    registers[5] = 32'h00000000;
    registers[6] = 32'h00000000;
    registers[7] = 32'h00000000;
    registers[8] = 32'h00000000;
    registers[9] = 32'h00000000;
    registers[10] = 32'h00000000;
    registers[11] = 32'h00000000;
    registers[12] = 32'h00000000;
    registers[13] = 32'h00000000;
    registers[14] = 32'h00000000;
    registers[15] = 32'h00000000;
    registers[16] = 32'h00000000;
    registers[17] = 32'h00000000;
    registers[18] = 32'h00000000;
    registers[19] = 32'h00000000;
    registers[20] = 32'h00000000;
    registers[21] = 32'h00000000;
    registers[22] = 32'h00000000;
    registers[23] = 32'h00000000;
    registers[24] = 32'h00000000;
    registers[25] = 32'h00000000;
    registers[26] = 32'h00000000;
    registers[27] = 32'h00000000;
    registers[28] = 32'h00000000;
    registers[29] = 32'h00000000;
    registers[30] = 32'h00000000;
    registers[31] = 32'h00000000;
    registers[32] = 32'h00000000;
    registers[33] = 32'h00000000;
    registers[34] = 32'h00000000;
    registers[35] = 32'h00000000;
    registers[36] = 32'h00000000;
    registers[37] = 32'h00000000;
    registers[38] = 32'h00000000;
    registers[39] = 32'h00000000;
    registers[40] = 32'h00000000;
    registers[41] = 32'h00000000;
    registers[42] = 32'h00000000;
    registers[43] = 32'h00000000;
    registers[44] = 32'h00000000;
    registers[45] = 32'h00000000;
    registers[46] = 32'h00000000;
    registers[47] = 32'h00000000;
    registers[48] = 32'h00000000;
    registers[49] = 32'h00000000;
    registers[50] = 32'h00000000;
    registers[51] = 32'h00000000;
    registers[52] = 32'h00000000;
    registers[53] = 32'h00000000;
    registers[54] = 32'h00000000;
    registers[55] = 32'h00000000;
    registers[56] = 32'h00000000;
    registers[57] = 32'h00000000;
    registers[58] = 32'h00000000;
    registers[59] = 32'h00000000;
    registers[60] = 32'h00000000;
    registers[61] = 32'h00000000;
    registers[62] = 32'h00000000;
    registers[63] = 32'h00000000;
  end
  reg aw = 0, w = 0, b = 0, r = 0;
  reg [5:0] waddr = 0;
  reg [31:0] wdata = 0, rdata = 0;
  assign s_axi_awready = !aw;
  assign s_axi_wready = !w;
  assign s_axi_bvalid = b;
  assign s_axi_bresp = 0;
  assign s_axi_arready = !r;
  assign s_axi_rvalid = r;
  assign s_axi_rdata = rdata;
  assign s_axi_rresp = s_axi_rvalid && rdata == 32'hBAD ? 2'b10 : 2'b00;
  always @(posedge aclk) begin
    if (!aresetn) begin
      aw <= 0; w <= 0; b <= 0; r <= 0;
    end else begin
      if (s_axi_awvalid && s_axi_awready) begin aw <= 1; waddr <= s_axi_awaddr[7:2]; end
      if (s_axi_wvalid && s_axi_wready) begin w <= 1; wdata <= s_axi_wdata; end
      if (aw && w && !b) begin registers[waddr] <= wdata; b <= 1; end
      if (b && s_axi_bready) begin b <= 0; aw <= 0; w <= 0; end
      if (s_axi_arvalid && s_axi_arready) begin r <= 1; rdata <= registers[s_axi_araddr[7:2]]; end
      if (r && s_axi_rready) r <= 0;
    end
  end
endmodule
